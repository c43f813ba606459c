/*
 * test_generation.c: continuations equal to those of an evaluator of its own in float64; prompts and
 * chats as ids; ends; text token by token; chance that is the same everywhere; where two part.
 */
#include "generation.h"
#include "prompt.h"

#include "file.h"
#include "json.h"
#include "sampler.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mq_view *view;
static struct mq_tokenizer *tokenizer;

static void setup(void)
{
    moeq_error err = {0};
    ck_assert_ok(mq_view_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_ok(mq_prompt_tokenizer(view, &tokenizer, &err));
}

static void teardown(void)
{
    mq_tokenizer_free(tokenizer);
    mq_view_close(view);
}

static cJSON *read_json(const char *path)
{
    struct mq_buffer json = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_file_read_all(mq_test_source(path), 8 << 20, &json, &err));
    cJSON *tree = cJSON_ParseWithLength(json.data, json.size);
    ck_assert_ptr_nonnull(tree);
    mq_buffer_free(&json);
    return tree;
}

static void check_ids(const cJSON *expected, const int32_t *ids, size_t count)
{
    ck_assert_uint_eq((size_t)cJSON_GetArraySize(expected), count);
    const cJSON *id = expected->child;
    for (size_t i = 0; i < count; i++, id = id->next)
        ck_assert_msg(ids[i] == (int32_t)id->valuedouble, "token %zu: %d, expected %g", i, ids[i],
                      id->valuedouble);
}

struct collected {
    struct mq_text_stream stream;
    struct mq_buffer text;
};

static moeq_status on_token(void *user, int32_t id, double logprob, moeq_error *err)
{
    struct collected *c = user;
    (void)logprob;
    return mq_text_stream_push(&c->stream, id, &c->text, err);
}

START_TEST(greedy)
{
    cJSON *all = read_json("tests/verify/data/generate_demo.json");
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
    for (const cJSON *g = all->child; g; g = g->next) {
        const char *text = cJSON_GetStringValue(mq_json_get(g, "prompt")), *end_token;
        const struct mq_prompt prompt = {.text = text, .size = strlen(text)};
        struct mq_ids ids = {0}, ends = {0};
        struct mq_generation made;
        struct collected c = {0};
        moeq_error err = {0};
        ck_assert_ok(mq_prompt_ids(view, tokenizer, &prompt, &ids, &end_token, &err));
        check_ids(mq_json_get(g, "prompt_ids"), ids.data, ids.size);
        ck_assert_ok(mq_end_tokens(view, tokenizer, end_token, &ends, &err));
        ck_assert_uint_eq(ends.size, 1);
        ck_assert_int_eq(ends.data[0], 2);
        ck_assert_ok(mq_text_stream_begin(tokenizer, ids.data, ids.size, &c.stream, &err));
        const struct mq_generation_options how = {
            .most = 40, .ends = &ends, .on_token = on_token, .user = &c};
        ck_assert_ok(mq_generate(&context, &arm, &ids, &how, &made, &err));
        check_ids(mq_json_get(g, "ids"), made.ids, made.count);
        const cJSON *logprob = mq_json_get(g, "logprobs")->child;
        for (size_t i = 0; i < made.count; i++, logprob = logprob->next)
            ck_assert_double_eq_tol(made.logprobs[i], logprob->valuedouble, 1e-3);
        ck_assert_ok(mq_text_stream_flush(&c.stream, &c.text, &err));
        mq_buffer_putc(&c.text, '\0');
        ck_assert_str_eq(c.text.data, cJSON_GetStringValue(mq_json_get(g, "text")));
        ck_assert_int_eq(made.end, MQ_GENERATION_LENGTH);
        mq_generation_free(&made);
        mq_text_stream_end(&c.stream);
        mq_buffer_free(&c.text);
        mq_ids_free(&ids);
        mq_ids_free(&ends);
    }
    cJSON_Delete(all);
}
END_TEST

/* A view whose template is another one's. */
START_TEST(chats)
{
    cJSON *golden = read_json("tests/verify/data/chat_demo.json");
    const char *template = cJSON_GetStringValue(mq_json_get(golden, "template"));
    struct mq_view chatting = *view;
    chatting.side[MQ_SIDE_CHAT_TEMPLATE] =
        (struct mq_buffer){.data = (char *)template, .size = strlen(template)};
    for (const cJSON *c = mq_json_get(golden, "cases")->child; c; c = c->next) {
        const char *user = cJSON_GetStringValue(mq_json_get(c, "user")), *end_token;
        const struct mq_prompt prompt = {.chat = true, .text = user, .size = strlen(user)};
        struct mq_ids ids = {0};
        moeq_error err = {0};
        ck_assert_ok(mq_prompt_ids(&chatting, tokenizer, &prompt, &ids, &end_token, &err));
        check_ids(mq_json_get(c, "ids"), ids.data, ids.size);
        ck_assert_int_eq(ids.data[0], 1);
        ck_assert_int_ne(ids.data[1], 1);
        ck_assert_str_eq(end_token, "</s>");
        mq_ids_free(&ids);
    }
    cJSON_Delete(golden);
}
END_TEST

START_TEST(chats_refused)
{
    static char unknown[] = "{{ messages[0]['content'] }}";
    const struct mq_prompt prompt = {.chat = true, .text = "Hi", .size = 2};
    struct mq_view chatting = *view;
    struct mq_ids ids = {0};
    const char *end_token;
    moeq_error err = {0};
    ck_assert_int_eq(mq_prompt_ids(view, tokenizer, &prompt, &ids, &end_token, &err),
                     MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "no chat template"));
    memset(&err, 0, sizeof err);
    chatting.side[MQ_SIDE_CHAT_TEMPLATE] =
        (struct mq_buffer){.data = unknown, .size = strlen(unknown)};
    ck_assert_int_eq(mq_prompt_ids(&chatting, tokenizer, &prompt, &ids, &end_token, &err),
                     MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "--prompt"));
    mq_ids_free(&ids);
}
END_TEST

/* A character of several tokens comes as one, what never becomes one comes in the end. */
START_TEST(whole_characters)
{
    struct mq_ids ids = {0};
    struct mq_text_stream stream;
    struct mq_buffer text = {0};
    moeq_error err = {0};
    const char *words = "caf\xc3\xa9 \xf0\x9f\x98\x80 end";
    ck_assert_ok(mq_tokenizer_encode(tokenizer, words, strlen(words), true, &ids, &err));
    ck_assert_ok(mq_text_stream_begin(tokenizer, ids.data, 1, &stream, &err));
    for (size_t i = 1; i < ids.size; i++) {
        size_t bad;
        ck_assert_ok(mq_text_stream_push(&stream, ids.data[i], &text, &err));
        ck_assert(mq_utf8_valid(text.data ? text.data : "", text.size, &bad));
        ck_assert(text.size < 3 || memcmp(text.data + text.size - 3, "\xef\xbf\xbd", 3) != 0);
    }
    mq_buffer_putc(&text, '\0');
    ck_assert_str_eq(text.data, words);
    mq_buffer_clear(&text);
    const int32_t half = mq_tokenizer_token_id(tokenizer, "<0xF0>");
    ck_assert_int_ge(half, 0);
    ck_assert_ok(mq_text_stream_push(&stream, half, &text, &err));
    ck_assert_uint_eq(text.size, 0);
    ck_assert_ok(mq_text_stream_flush(&stream, &text, &err));
    ck_assert_uint_eq(text.size, 3);
    mq_buffer_free(&text);
    mq_text_stream_end(&stream);
    mq_ids_free(&ids);
}
END_TEST

static int32_t draw(const struct mq_sampling *how, const float *logits, size_t n, size_t times)
{
    struct mq_sampler *s;
    moeq_error err = {0};
    int32_t id = -1;
    ck_assert_ok(mq_sampler_create(how, n, &s, &err));
    for (size_t i = 0; i < times; i++)
        id = mq_sampler_next(s, MQ_ISA_GENERIC, logits);
    mq_sampler_free(s);
    return id;
}

START_TEST(sampling)
{
    static const float logits[] = {1, 3, 3, -2, 2.5f, -100};
    enum { N = 6, DRAWS = 20000 };
    const struct mq_sampling likely = {0}, first = {.temperature = 1, .top_k = 1, .seed = 5};
    size_t counts[N] = {0};
    struct mq_sampling how = {.temperature = 0.7, .seed = 9};
    struct mq_sampler *s;
    moeq_error err = {0};
    double weights[N], sum = 0;
    ck_assert_int_eq(draw(&likely, logits, N, 1), 1);
    ck_assert_int_eq(draw(&first, logits, N, 3), 1);
    ck_assert_int_eq(draw(&how, logits, N, 7), draw(&how, logits, N, 7));
    ck_assert_ok(mq_sampler_create(&how, N, &s, &err));
    for (size_t i = 0; i < DRAWS; i++)
        counts[mq_sampler_next(s, MQ_ISA_GENERIC, logits)]++;
    mq_sampler_free(s);
    for (size_t i = 0; i < N; i++)
        sum += weights[i] = exp((double)logits[i] / 0.7);
    for (size_t i = 0; i < N; i++) /* within five standard errors */
        ck_assert_double_eq_tol((double)counts[i] / DRAWS, weights[i] / sum,
                                5 * sqrt(weights[i] / sum / DRAWS) + 1e-9);
    how.top_p = 0.5; /* the two of equal logits reach it together */
    ck_assert_ok(mq_sampler_create(&how, N, &s, &err));
    for (size_t i = 0; i < 1000; i++) {
        const int32_t id = mq_sampler_next(s, MQ_ISA_GENERIC, logits);
        ck_assert(id == 1 || id == 2);
    }
    mq_sampler_free(s);
}
END_TEST

START_TEST(ends_and_room)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
    int32_t prompt_ids[] = {1, 370, 260, 547}, end_ids[] = {267};
    const struct mq_ids prompt = {.data = prompt_ids, .size = 4},
                        ends = {.data = end_ids, .size = 1};
    struct mq_generation made, other;
    struct mq_generation_options how = {.most = 40, .ends = &ends, .keep_bytes = 1 << 20};
    moeq_error err = {0};
    ck_assert_ok(mq_generate(&context, &arm, &prompt, &how, &made, &err));
    ck_assert_int_eq(made.end, MQ_GENERATION_END);
    ck_assert_uint_eq(made.count, 1);
    ck_assert_int_eq(made.end_id, 267);
    how.ends = NULL;
    how.context = 7;
    ck_assert_ok(mq_generate(&context, &arm, &prompt, &how, &other, &err));
    ck_assert_int_eq(other.end, MQ_GENERATION_CONTEXT);
    ck_assert_uint_eq(other.count, 3);
    struct mq_parting p = mq_generation_compare(context.isa, &made, &other);
    ck_assert(!p.parts);
    ck_assert_uint_eq(p.at, 2);
    other.ids[1] = 5;
    p = mq_generation_compare(context.isa, &made, &other);
    ck_assert(p.parts);
    ck_assert_uint_eq(p.at, 1);
    ck_assert_int_eq(p.base_id, 267);
    ck_assert_int_eq(p.id, 5);
    ck_assert_double_eq_tol(log(p.base_of_base), -1.0679668002814606, 1e-4);
    ck_assert(p.base_of_other < p.base_of_base);
    mq_generation_free(&made);
    mq_generation_free(&other);
    how.context = 4;
    ck_assert_int_eq(mq_generate(&context, &arm, &prompt, &how, &made, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "--context"));
    how.context = 40000;
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(mq_generate(&context, &arm, &prompt, &how, &made, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "max_position_embeddings"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, greedy);
    tcase_add_test(tests, chats);
    tcase_add_test(tests, chats_refused);
    tcase_add_test(tests, whole_characters);
    tcase_add_test(tests, sampling);
    tcase_add_test(tests, ends_and_room);
}

int main(void)
{
    return mq_test_main("test_generation", add_tests);
}
