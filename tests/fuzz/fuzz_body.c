/* fuzz_body: request bodies as JSON.
 *
 * What must hold: a body that is accepted is one that jansson alone accepts, no deeper than we say, and says the same
 * when it is written and read again; of bodies that jansson alone would take as an object, only deep ones and those
 * with a zero byte (which jansson takes behind a number) are refused. */
#include <jansson.h>
#include <stdbool.h>

#include "http/body.h"
#include "target.h"

static int depth_of(json_t *value)
{
    int deepest = 0;
    const char *key;
    json_t *one;
    size_t i;
    json_object_foreach(value, key, one)
    {
        int depth = depth_of(one);
        deepest = depth > deepest ? depth : deepest;
    }
    json_array_foreach(value, i, one)
    {
        int depth = depth_of(one);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + (json_is_object(value) || json_is_array(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char error[256] = "";
    char *text = exact_copy(bytes, size, 0);
    json_t *object = NULL;
    enum body_result result = body_parse(text, size, &object, error, sizeof error);
    json_t *alone = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (result == BODY_OK) {
        MUST(json_is_object(object) && json_equal(object, alone) && depth_of(object) <= BODY_DEPTH_MAX);
        char *dumped = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
        json_t *again = NULL;
        MUST(dumped != NULL && body_parse(dumped, strlen(dumped), &again, error, sizeof error) == BODY_OK);
        MUST(json_equal(object, again));
        json_decref(again);
        free(dumped);
    } else {
        MUST(object == NULL && error[0] != '\0' && strlen(error) < sizeof error);
        MUST(!json_is_object(alone) || depth_of(alone) > BODY_DEPTH_MAX || memchr(text, '\0', size) != NULL);
    }
    json_decref(object);
    json_decref(alone);
    free(text);
    return 0;
}
