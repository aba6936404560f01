EXTRA_DIST += contrib/quickstart contrib/check contrib/.shellcheckrc contrib/lib contrib/demo contrib/prometheus contrib/grafana
