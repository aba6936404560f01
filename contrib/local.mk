EXTRA_DIST += contrib/quickstart contrib/check contrib/.shellcheckrc contrib/lib contrib/demo contrib/prometheus contrib/grafana
EXTRA_DIST += contrib/completion/turnout.bash

# Loaded by name: one file, found under the names of both programs.
completiondir = $(datarootdir)/bash-completion/completions
install-data-local: install-completion
install-completion:
	$(MKDIR_P) "$(DESTDIR)$(completiondir)"
	$(INSTALL_DATA) "$(srcdir)/contrib/completion/turnout.bash" "$(DESTDIR)$(completiondir)/turnoutctl"
	cd "$(DESTDIR)$(completiondir)" && rm -f turnoutd && $(LN_S) turnoutctl turnoutd

uninstall-local: uninstall-completion
uninstall-completion:
	rm -f "$(DESTDIR)$(completiondir)/turnoutctl" "$(DESTDIR)$(completiondir)/turnoutd"

.PHONY: install-completion uninstall-completion
