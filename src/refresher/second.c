/* second: the second level of the cache. Refresher. This build knows no Redis: there is never anything to ask. */
#include "refresher/second.h"

void second_create(struct event_base *base, const struct configuration *configuration)
{
    (void)base;
    (void)configuration;
}
void second_reload(const struct configuration *configuration)
{
    (void)configuration;
}
void second_name(const struct pg_feed_database *database)
{
    (void)database;
}
void second_set_seal(uint64_t seal)
{
    (void)seal;
}
bool second_is_there(void)
{
    return false;
}
void second_ask(struct item *item)
{
    (void)item;
    INVARIANT(false);
}
void second_store(struct item *item, const struct hot_key *key, const struct rendering *rendering)
{
    (void)item;
    (void)key;
    (void)rendering;
}
void second_release(struct item *item)
{
    (void)item;
}
void second_destroy(void)
{
}
