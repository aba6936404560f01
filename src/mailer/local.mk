EXTRA_DIST += src/mailer/README.md src/mailer/mailer.h src/mailer/smtp.h
