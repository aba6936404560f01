EXTRA_DIST += src/mail/README.md src/mail/letter.h
