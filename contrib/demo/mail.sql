-- Mail of the past: reminders and invitations to surveys that would be due now, taken as sent, so that the first mails that come are
-- about what somebody does with the demo.
select turnout.owe_reminders() + turnout.owe_survey_invitations() as demo_mails \gset
update turnout.outbox set state = 'sent', sent_at = now();
\set demo_step :demo_mails ' reminders and invitations taken as sent'
\ir progress.sql
