/* openapi: the description of the API, linked into the program as it stands in openapi.json. Worker process. */
#include <xxhash.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/limits.h"
#include "api/parameters.h"
#include "api/resources.h"

__asm__(".section .rodata\n"
        ".global openapi_document\n"
        "openapi_document:\n"
        ".incbin \"" TURNOUT_OPENAPI "\"\n"
        ".global openapi_document_end\n"
        "openapi_document_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const char openapi_document[];
extern const char openapi_document_end[];

void openapi_read(struct http_request *request)
{
    if (!caller_is_remembered(request) && !limits_admit_address(request))
        return;
    if (!parameters_check(request, (const char *const[]){NULL}))
        return;
    size_t length = (size_t)(openapi_document_end - openapi_document);
    const char *etag =
        arena_printf(request->arena, "%016llx", (unsigned long long)XXH3_64bits(openapi_document, length));
    answer_json(request, openapi_document, length, etag, "Cache-Control: public, max-age=300\r\n");
}
