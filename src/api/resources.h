/* resources: the handlers of the route table, one file per resource. Worker process. Each answers its request exactly
 * once, now or when PostgreSQL has answered. */
#ifndef API_RESOURCES_H
#define API_RESOURCES_H

#include "api/api.h"

/* events.c: reading */
http_handler events_list;
http_handler events_read;
/* event_edits.c: writing */
http_handler events_create;
http_handler events_update;
http_handler events_delete;
http_handler events_publish;
http_handler events_cancel;
/* organizers.c: for those who manage an event */
http_handler organizers_roster;
http_handler organizers_log;
/* registrations.c */
http_handler registrations_list;
http_handler registrations_create;
http_handler registrations_read;
http_handler registrations_cancel;
/* registration_list.c: for those who manage an event */
http_handler registration_list_create;
/* transfer.c */
http_handler transfer_create;
/* dashboard.c */
http_handler dashboard_stats;
/* users.c */
http_handler users_me;
/* calendars.c */
http_handler calendars_event;
/* feeds.c */
http_handler feeds_create;
http_handler feeds_delete;
http_handler feeds_read;
/* unsubscribe.c */
http_handler unsubscribe_show;
http_handler unsubscribe_do;
/* openapi.c */
http_handler openapi_read;
/* health.c: the internal listener */
http_handler health_alive;
http_handler health_ready;
/* metrics.c: the internal listener */
http_handler metrics_read;

#endif
