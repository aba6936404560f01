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
