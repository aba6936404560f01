/* fuzz_control: the control protocol, as the master reads requests and as turnoutctl reads replies.
 *
 * What must hold: how the bytes are cut changes nothing; a request that is accepted, written again, is read as the same
 * words, and finding its command stays within them; a reply that is accepted has whole rows. */
#include <stdbool.h>

#include "base/buffer.h"
#include "ctl/command.h"
#include "ctl/protocol.h"
#include "target.h"

/* The first request of the bytes, which come in steps. */
static enum protocol_result request_in_steps(const uint8_t *bytes, size_t size, size_t step,
                                             struct protocol_request *request, size_t *left)
{
    struct buffer in = {0};
    enum protocol_result result = PROTOCOL_MORE;
    for (size_t at = 0; at < size && result == PROTOCOL_MORE; at += step) {
        buffer_append(&in, bytes + at, step < size - at ? step : size - at);
        result = protocol_get_request(&in, request);
        *left = buffer_length(&in) + (size - at > step ? size - at - step : 0);
    }
    buffer_free(&in);
    return result;
}

static void must_be_the_same(const struct protocol_request *one, const struct protocol_request *other)
{
    MUST(one->count == other->count && one->count >= 1 && one->count <= PROTOCOL_WORDS_MAX);
    for (size_t i = 0; i < one->count; i++)
        MUST(strcmp(one->words[i], other->words[i]) == 0 && strlen(one->words[i]) <= PROTOCOL_WORD_MAX);
}

static void try_request(const uint8_t *bytes, size_t size)
{
    struct protocol_request whole = {0};
    struct protocol_request single = {0};
    struct protocol_request again = {0};
    size_t left_whole = size;
    size_t left_single = size;
    enum protocol_result result = request_in_steps(bytes, size, size, &whole, &left_whole);
    MUST(request_in_steps(bytes, size, 1, &single, &left_single) == result);
    if (result != PROTOCOL_OK) {
        MUST(whole.count == 0 && single.count == 0);
        return;
    }
    MUST(left_whole == left_single);
    must_be_the_same(&whole, &single);
    struct buffer frame = {0};
    protocol_put_request(&frame, whole.words, whole.count);
    MUST(protocol_get_request(&frame, &again) == PROTOCOL_OK && buffer_length(&frame) == 0);
    must_be_the_same(&whole, &again);
    size_t used = 0;
    if (command_find(whole.words, whole.count, &used) != COMMAND_COUNT)
        MUST(used >= 1 && used <= whole.count);
    buffer_free(&frame);
    protocol_request_free(&whole);
    protocol_request_free(&single);
    protocol_request_free(&again);
}

/* As turnoutctl prints: every byte of every text is looked at. */
static void look_at(const msgpack_object_array *array)
{
    for (uint32_t i = 0; i < array->size; i++) {
        const msgpack_object *object = &array->ptr[i];
        if (object->type == MSGPACK_OBJECT_STR) {
            char *text = strndup(object->via.str.ptr, object->via.str.size);
            MUST(text != NULL);
            free(text);
        }
    }
}

static void try_answer(const uint8_t *bytes, size_t size)
{
    struct buffer in = {0};
    struct protocol_answer answer;
    buffer_append(&in, bytes, size);
    if (protocol_get_answer(&in, &answer) == PROTOCOL_OK) {
        MUST(answer.columns->size == 0 ? answer.cells->size == 0 : answer.cells->size % answer.columns->size == 0);
        look_at(answer.columns);
        look_at(answer.cells);
        protocol_answer_free(&answer);
    }
    buffer_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 2 * PROTOCOL_REQUEST_MAX)
        return 0;
    try_request(bytes, size);
    try_answer(bytes, size);
    return 0;
}
