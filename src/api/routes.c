/* routes: the one table of routes, and the worker's shared state. Worker process. */
#include "api/resources.h"

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/api/events", events_list, 0},
    {HTTP_METHOD_POST, "/api/events", events_create, 0},
    {HTTP_METHOD_GET, "/api/events/{id}", events_read, 0},
    {HTTP_METHOD_PATCH, "/api/events/{id}", events_update, 0},
    {HTTP_METHOD_DELETE, "/api/events/{id}", events_delete, 0},
    {HTTP_METHOD_POST, "/api/events/{id}/publish", events_publish, 0},
    {HTTP_METHOD_POST, "/api/events/{id}/cancel", events_cancel, 0},
    {HTTP_METHOD_GET, "/api/events/{id}/registrations", organizers_roster, 0},
    {HTTP_METHOD_POST, "/api/events/{id}/registrations", registration_list_create, 0},
    {HTTP_METHOD_GET, "/api/events/{id}/log", organizers_log, 0},
    {HTTP_METHOD_GET, "/api/events/{id}/calendar.ics", calendars_event, 0},
    {HTTP_METHOD_GET, "/api/registrations", registrations_list, 0},
    {HTTP_METHOD_POST, "/api/registrations", registrations_create, 0},
    {HTTP_METHOD_GET, "/api/registrations/{id}", registrations_read, 0},
    {HTTP_METHOD_DELETE, "/api/registrations/{id}", registrations_cancel, 0},
    {HTTP_METHOD_POST, "/api/registrations/{id}/transfer", transfer_create, 0},
    {HTTP_METHOD_GET, "/api/dashboard/events/{id}/stats", dashboard_stats, 0},
    {HTTP_METHOD_GET, "/api/users/me", users_me, 0},
    {HTTP_METHOD_GET, "/api/users/me/calendar.ics", feeds_read, 0},
    {HTTP_METHOD_POST, "/api/users/me/calendar-feed", feeds_create, 0},
    {HTTP_METHOD_DELETE, "/api/users/me/calendar-feed", feeds_delete, 0},
    {HTTP_METHOD_GET, "/api/mail/unsubscribe", unsubscribe_show, 0},
    {HTTP_METHOD_POST, "/api/mail/unsubscribe", unsubscribe_do, 0},
    {HTTP_METHOD_GET, "/api/openapi.json", openapi_read, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static const struct http_route internal_routes[] = {
    {HTTP_METHOD_GET, "/healthz", health_alive, 0},
    {HTTP_METHOD_GET, "/readyz", health_ready, 0},
    {HTTP_METHOD_GET, "/metrics", metrics_read, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static struct api shared;

void api_set(const struct api *api)
{
    shared = *api;
}

const struct api *api_get(void)
{
    INVARIANT(shared.base != NULL);
    return &shared;
}

const struct http_route *api_routes(void)
{
    return routes;
}

const struct http_route *api_internal_routes(void)
{
    return internal_routes;
}
