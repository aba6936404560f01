include src/base/local.mk
include src/shm/local.mk
include src/http/local.mk
include src/pg/local.mk
include src/registration/local.mk
include src/redis/local.mk
include src/identity/local.mk
include src/mail/local.mk
include src/api/local.mk
include src/worker/local.mk
include src/refresher/local.mk
include src/scheduler/local.mk
include src/mailer/local.mk
include src/master/local.mk
include src/ctl/local.mk
EXTRA_DIST += src/README.md
