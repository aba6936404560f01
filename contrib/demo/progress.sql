-- One line of progress: :demo_step says what is done. Included after each step.
select format('%-58s %6s s', :'demo_step',
              to_char(extract(epoch from clock_timestamp() - :'demo_step_began'::timestamptz), 'FM990.0')) as demo_line,
       clock_timestamp() as demo_step_began \gset
\echo :demo_line
