# The sample becomes the configuration where there is none yet; an administrator's file is never overwritten, nor deleted once edited.
EXTRA_DIST += conf/turnout.conf conf/nginx/turnout.conf

install-data-local: install-configuration
install-configuration:
	$(MKDIR_P) "$(DESTDIR)$(sysconfdir)/turnout"
	test -e "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf" || \
	  $(INSTALL_DATA) "$(srcdir)/conf/turnout.conf" "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"

uninstall-local: uninstall-configuration
uninstall-configuration:
	if cmp -s "$(srcdir)/conf/turnout.conf" "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"; then \
	  rm -f "$(DESTDIR)$(sysconfdir)/turnout/turnout.conf"; fi
	-test ! -d "$(DESTDIR)$(sysconfdir)/turnout" || rmdir "$(DESTDIR)$(sysconfdir)/turnout" 2>/dev/null

.PHONY: install-configuration uninstall-configuration
