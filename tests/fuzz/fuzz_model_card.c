/* fuzz_model_card.c: the metadata of a README.md; what is kept is text of one line. */
#include "model_card.h"

#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *text)
{
    size_t bad;
    if (!mq_utf8_valid(text, strlen(text), &bad) || strpbrk(text, "\n\r\t"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_model_card card = {.license = ""};
    mq_model_card_parse((const char *)data, size, &card);
    check(card.license);
    check(card.license_name);
    check(card.license_link);
    check(card.pipeline_tag);
    for (size_t i = 0; i < card.languages_count; i++)
        check(card.languages[i]);
    return 0;
}
