/*
 * test_chat.c: published templates that are recognised give what Jinja makes of them; whatever is
 * not recognised is refused, and hostile ones cost a search.
 */
#include "chat.h"

#include "file.h"
#include "json.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *goldens(void)
{
    struct mq_buffer json = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_file_read_all(mq_test_source("tests/formats/data/chat_templates.json"), 8 << 20,
                                  &json, &err));
    cJSON *tree = cJSON_ParseWithLength(json.data, json.size);
    ck_assert_ptr_nonnull(tree);
    mq_buffer_free(&json);
    return tree;
}

static const char *text_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(mq_json_get(object, key));
}

static int talks_refused;

/* One case of a recognised template: the same text, or refused with a reason. */
static void check_case(const char *name, const struct mq_chat_form *form, const char *template,
                       const cJSON *c)
{
    const char *system = text_of(c, "system"), *user = text_of(c, "user");
    const char *expected = text_of(c, "text");
    struct mq_chat_exchange earlier[4];
    struct mq_chat_turn turn = {.system = system,
                                .system_size = system ? strlen(system) : 0,
                                .earlier = earlier,
                                .user = user,
                                .user_size = strlen(user),
                                .eos = "<EOS>",
                                .date = "2025-08-01"};
    const cJSON *said = mq_json_get(c, "earlier");
    for (const cJSON *e = said ? said->child : NULL; e; e = e->next) {
        const char *message = e->child->valuestring, *answer = e->child->next->valuestring;
        earlier[turn.earlier_count++] =
            (struct mq_chat_exchange){message, strlen(message), answer, strlen(answer)};
    }
    struct mq_buffer out = {0};
    moeq_error err = {0};
    const moeq_status status =
        mq_chat_write(form, template, strlen(template), "<BOS>", &turn, &out, &err);
    if (status != MOEQ_OK) {
        ck_assert_msg(strstr(err.message, "--system") ||
                          (said && strstr(err.message, "answers that were given")),
                      "%s: %s", name, err.message);
        talks_refused += strstr(err.message, "answers that were given") != NULL;
    } else {
        mq_buffer_putc(&out, '\0');
        ck_assert_msg(expected && strcmp(out.data, expected) == 0,
                      "%s (%s), system %s:\nexpected %s\nfound    %s", name,
                      mq_chat_form_name(form), system ? system : "none", expected, out.data);
    }
    mq_buffer_free(&out);
}

START_TEST(published_templates)
{
    cJSON *all = goldens();
    const char *verbose = getenv("MOEQ_CHAT_VERBOSE");
    int recognised = 0;
    for (const cJSON *t = all->child; t; t = t->next) {
        const char *name = text_of(t, "name"), *template = text_of(t, "template");
        const struct mq_chat_form *form = mq_chat_find(template, strlen(template));
        if (verbose)
            fprintf(stderr, "%-60s %s\n", name, form ? mq_chat_form_name(form) : "-");
        if (!form)
            continue;
        recognised++;
        for (const cJSON *c = mq_json_get(t, "cases")->child; c; c = c->next)
            check_case(name, form, template, c);
    }
    ck_assert_int_ge(recognised, 30);
    ck_assert_int_eq(talks_refused, 0);
    cJSON_Delete(all);
}
END_TEST

/* What is known by name. */
START_TEST(forms_of_models)
{
    static const char *const known[][2] = {
        {"meta-llama/Llama-2-7b-chat-hf", "llama2"},
        {"meta-llama-Llama-3.1-8B-Instruct", "llama3.1"},
        {"test: Llama-3", "llama3"},
        {"mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral"},
        {"mistralai-Mistral-Nemo-Instruct-2407", "mistral-v3-tekken"},
        {"Qwen-Qwen3-0.6B", "qwen3"},
        {"Qwen-Qwen2.5-7B-Instruct", "qwen2.5"},
        {"google-gemma-2-2b-it", "gemma"},
        {"unsloth: gemma3_template", "gemma3"},
        {"test: DeepSeek-V2", "deepseek-v2"},
        {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-r1"},
        {"openai-gpt-oss-120b", "gpt-oss"},
        {"microsoft-Phi-3.5-mini-instruct", "phi3"},
        {"test: TheBloke/FusionNet_34Bx2_MoE-AWQ", NULL},
        {"test: bofenghuang/vigogne-2-70b-chat", NULL},
    };
    cJSON *all = goldens();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const cJSON *t = all->child;
        while (t && strcmp(text_of(t, "name"), known[i][0]) != 0)
            t = t->next;
        ck_assert_msg(t != NULL, "%s is not among the templates", known[i][0]);
        const char *template = text_of(t, "template");
        const struct mq_chat_form *form = mq_chat_find(template, strlen(template));
        if (known[i][1])
            ck_assert_msg(form && strcmp(mq_chat_form_name(form), known[i][1]) == 0, "%s",
                          known[i][0]);
        else
            ck_assert_msg(form == NULL, "%s", known[i][0]);
    }
    cJSON_Delete(all);
}
END_TEST

/* Nothing, pieces of pieces, all pieces at once, and far too much. */
START_TEST(hostile_templates)
{
    enum { SIZE = 3 << 20 };
    char *large = malloc(SIZE);
    memset(large, '<', SIZE);
    ck_assert_ptr_null(mq_chat_find("", 0));
    ck_assert_ptr_null(mq_chat_find("<|im_start|", 11));
    ck_assert_ptr_null(mq_chat_find(large, SIZE));
    ck_assert_ptr_null(mq_chat_find(large, 1 << 20));
    ck_assert_ptr_nonnull(mq_chat_find("<|im_start|><|im_end|>\0\xff", 24));
    free(large);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, forms_of_models);
    tcase_add_test(tests, hostile_templates);
    tcase_add_test(tests, published_templates);
}

int main(void)
{
    return mq_test_main("test_chat", add_tests);
}
