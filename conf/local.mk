# Files that name folders are installed with those of this installation: conf/ and docs/manual have the defaults, below /usr/local.
FILL_FOLDERS = sed \
  -e 's|/usr/local/etc|$(sysconfdir)|g' \
  -e 's|/usr/local/share/turnout|$(pkgdatadir)|g' \
  -e 's|/usr/local/sbin|$(sbindir)|g' \
  -e 's|/usr/local/bin|$(bindir)|g'
installed/%: $(srcdir)/% Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(FILL_FOLDERS) $< >$@.new && mv $@.new $@

OPERATION_FILES = \
  conf/systemd/turnout.service \
  conf/systemd/turnout.socket \
  conf/sysusers/turnout.conf \
  conf/tmpfiles/turnout.conf \
  conf/logrotate/turnout
EXTRA_DIST += conf/turnout.conf conf/nginx/turnout.conf $(OPERATION_FILES)
CLEANFILES += installed/conf/turnout.conf $(OPERATION_FILES:%=installed/%)
noinst_DATA += installed/conf/turnout.conf

# Below the prefix as everything else; systemd looks into /usr/local/lib, too.
systemdunitdir = $(SYSTEMD_UNIT_FOLDER)
systemdunit_DATA = installed/conf/systemd/turnout.service installed/conf/systemd/turnout.socket
sysusersdir = $(prefix)/lib/sysusers.d
sysusers_DATA = installed/conf/sysusers/turnout.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
tmpfiles_DATA = installed/conf/tmpfiles/turnout.conf
logrotatedir = $(sysconfdir)/logrotate.d
logrotate_DATA = installed/conf/logrotate/turnout

# A site to copy and change.
nginxdir = $(pkgdatadir)/nginx
nginx_DATA = conf/nginx/turnout.conf

# The templates of mails. Every file by name, as the migrations; tests/lint/lists.sh compares.
templates_endir = $(pkgdatadir)/templates/en
dist_templates_en_DATA = \
  conf/templates/en/cancelled.html conf/templates/en/cancelled.subject conf/templates/en/cancelled.txt \
  conf/templates/en/changed.html conf/templates/en/changed.subject conf/templates/en/changed.txt \
  conf/templates/en/confirmation.html conf/templates/en/confirmation.subject conf/templates/en/confirmation.txt \
  conf/templates/en/event_cancelled.html conf/templates/en/event_cancelled.subject conf/templates/en/event_cancelled.txt \
  conf/templates/en/promoted.html conf/templates/en/promoted.subject conf/templates/en/promoted.txt \
  conf/templates/en/reminder.html conf/templates/en/reminder.subject conf/templates/en/reminder.txt \
  conf/templates/en/survey_invitation.html conf/templates/en/survey_invitation.subject conf/templates/en/survey_invitation.txt \
  conf/templates/en/waitlisted.html conf/templates/en/waitlisted.subject conf/templates/en/waitlisted.txt
templates_jadir = $(pkgdatadir)/templates/ja
dist_templates_ja_DATA = \
  conf/templates/ja/cancelled.html conf/templates/ja/cancelled.subject conf/templates/ja/cancelled.txt \
  conf/templates/ja/changed.html conf/templates/ja/changed.subject conf/templates/ja/changed.txt \
  conf/templates/ja/confirmation.html conf/templates/ja/confirmation.subject conf/templates/ja/confirmation.txt \
  conf/templates/ja/event_cancelled.html conf/templates/ja/event_cancelled.subject conf/templates/ja/event_cancelled.txt \
  conf/templates/ja/promoted.html conf/templates/ja/promoted.subject conf/templates/ja/promoted.txt \
  conf/templates/ja/reminder.html conf/templates/ja/reminder.subject conf/templates/ja/reminder.txt \
  conf/templates/ja/survey_invitation.html conf/templates/ja/survey_invitation.subject conf/templates/ja/survey_invitation.txt \
  conf/templates/ja/waitlisted.html conf/templates/ja/waitlisted.subject conf/templates/ja/waitlisted.txt
templatesdir = $(pkgdatadir)/templates
dist_templates_DATA = conf/templates/README.md

# The sample becomes the configuration where there is none yet; an administrator's file is never overwritten, nor deleted once edited.
install-data-local: install-configuration
install-configuration: installed/conf/turnout.conf
	$(MKDIR_P) "$(DESTDIR)$(sysconfdir)/turnout"
	test -e "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf" || \
	  $(INSTALL_DATA) installed/conf/turnout.conf "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"

uninstall-local: uninstall-configuration
uninstall-configuration: installed/conf/turnout.conf
	if cmp -s installed/conf/turnout.conf "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"; then \
	  rm -f "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"; fi
	-test ! -d "$(DESTDIR)$(sysconfdir)/turnout" || rmdir "$(DESTDIR)$(sysconfdir)/turnout" 2>/dev/null

.PHONY: install-configuration uninstall-configuration
