EXTRA_DIST += docs/identity.md
# Manual pages in mdoc(7). tests/system/test_manual.py holds them against the programs.
EXTRA_DIST += docs/manual/turnoutd.8 docs/manual/turnoutctl.1 docs/manual/turnout.conf.5
man_MANS = installed/docs/manual/turnoutd.8 installed/docs/manual/turnoutctl.1 installed/docs/manual/turnout.conf.5
CLEANFILES += $(man_MANS)
