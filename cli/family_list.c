/* family_list.c: what formats/arch/ says of families; docs/make_families.py makes documentation of it. */
#include "family_list.h"

#include "family.h"
#include "json_tree.h"

#include <stdio.h>
#include <string.h>

static void put_words(struct mq_json_tree *b, cJSON *o, const char *key, const char *words)
{
    cJSON *list = mq_json_array(b);
    for (size_t n; words && *words; words += n + (words[n] == ' ')) {
        char word[80];
        n = strcspn(words, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        mq_json_append(b, list, cJSON_CreateString(word));
    }
    mq_json_put(b, o, key, list);
}

static cJSON *family_json(struct mq_json_tree *b, const struct mq_family *f)
{
    cJSON *o = mq_json_object(b), *skips = mq_json_array(b);
    mq_json_put_text(b, o, "name", f->name);
    put_words(b, o, "other_model_types", f->model_types);
    mq_json_put_text(b, o, "architecture", f->architecture);
    put_words(b, o, "other_architectures", f->architectures);
    mq_json_put_text(b, o, "models", f->models);
    mq_json_put_text(b, o, "gguf_architecture", f->gguf_architecture);
    for (const struct mq_tensor_skip *s = f->skips; s && s->pattern; s++) {
        cJSON *skip = mq_json_object(b);
        mq_json_put_text(b, skip, "tensors", s->pattern);
        mq_json_put_text(b, skip, "why", s->why);
        mq_json_append(b, skips, skip);
    }
    mq_json_put(b, o, "left_out", skips);
    return o;
}

static cJSON *list_json(void)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "families"), *list = mq_json_array(&b);
    for (size_t i = 0; i < mq_families_count; i++)
        mq_json_append(&b, list, family_json(&b, mq_families[i]));
    mq_json_put(&b, o, "families", list);
    return mq_json_finish(&b, o);
}

enum mq_exit mq_list_families(const struct mq_options *options)
{
    if (options->json)
        return mq_print_json(list_json());
    mq_print_wrapped("models", printf("%-17s %-17s ", "model_type", "GGUF"), 0);
    for (size_t i = 0; i < mq_families_count; i++) {
        const struct mq_family *f = mq_families[i];
        const int at =
            printf("%-17s %-17s ", f->name, f->gguf_architecture ? f->gguf_architecture : "-");
        mq_print_wrapped(f->models ? f->models : "", at, at);
        if (f->model_types)
            mq_print_sentence(4, "  also %s", f->model_types);
    }
    putchar('\n');
    mq_print_sentence(2, "GGUF: the architecture that export writes; -: none.");
    return mq_finish_output();
}
