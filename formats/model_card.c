/*
 * model_card.c: the few keys of a model card that others repeat.
 *
 * Of YAML no more than cards have: `key: value` at the beginning of a line, with the value plain, in quotes, as
 * [a, b] or as lines of "- a"; comments. What is more (blocks, anchors, nesting) is passed over.
 */
#include "model_card.h"

#include "file.h"
#include "hf_int.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

/* A README.md larger than this is none that anybody reads. */
enum { MOST_BYTES = 4 << 20, MOST_CONFIG = 16 << 20 };

struct line {
    const char *at;
    size_t n;
};

/* The next line, without its end; false behind the last. */
static bool next_line(const char **text, const char *end, struct line *line)
{
    if (*text >= end)
        return false;
    const char *stop = memchr(*text, '\n', (size_t)(end - *text));
    line->at = *text;
    line->n = (size_t)((stop ? stop : end) - *text);
    *text = stop ? stop + 1 : end;
    if (line->n && line->at[line->n - 1] == '\r')
        line->n--;
    return true;
}

static void trim(struct line *s)
{
    while (s->n && (s->at[0] == ' ' || s->at[0] == '\t')) {
        s->at++;
        s->n--;
    }
    while (s->n && (s->at[s->n - 1] == ' ' || s->at[s->n - 1] == '\t'))
        s->n--;
}

/* One value, to its end: behind its closing quote, at a comment, or at one of the characters `ends` has. Returns how
 * many bytes of s it took; what does not fit, or is no text of one line, becomes "". */
static size_t take_value(struct line s, const char *ends, char *value, size_t room)
{
    const char quote = s.n && (s.at[0] == '"' || s.at[0] == '\'') ? s.at[0] : '\0';
    size_t i = quote != '\0', n = 0, bad;
    bool whole = true;
    for (; i < s.n; i++) {
        char c = s.at[i];
        if (quote && c == quote && !(quote == '\'' && i + 1 < s.n && s.at[i + 1] == quote))
            break;
        if (!quote && (strchr(ends, c) || (c == '#' && i && s.at[i - 1] == ' ')))
            break;
        if (quote == '\'' && c == quote)
            i++;
        if (quote == '"' && c == '\\' && i + 1 < s.n)
            c = s.at[++i];
        whole = whole && n + 1 < room && (unsigned char)c >= 32 && c != 127;
        if (whole)
            value[n++] = c;
    }
    while (!quote && n && value[n - 1] == ' ')
        n--;
    value[n] = '\0';
    if (!whole || !mq_utf8_valid(value, n, &bad) || (!quote && n && strchr("|>&*!{", value[0])))
        value[0] = '\0';
    return i + (quote && i < s.n);
}

static void add_language(struct mq_model_card *card, struct line s, const char *ends, size_t *used)
{
    char language[MQ_CARD_LANGUAGE];
    *used = take_value(s, ends, language, sizeof language);
    if (language[0] && card->languages_count < MQ_CARD_LANGUAGES)
        memcpy(card->languages[card->languages_count++], language, sizeof language);
}

/* "en", "[en, fr]" */
static void take_languages(struct mq_model_card *card, struct line s)
{
    size_t used;
    if (!s.n || s.at[0] != '[') {
        add_language(card, s, "", &used);
        return;
    }
    s.at++;
    s.n--;
    while (s.n && s.at[0] != ']') {
        trim(&s);
        add_language(card, s, ",]", &used);
        s.at += used;
        s.n -= used;
        trim(&s);
        if (!s.n || s.at[0] != ',')
            return;
        s.at++;
        s.n--;
    }
}

static void take_key(struct mq_model_card *card, struct line key, struct line value,
                     bool *languages)
{
    const struct {
        const char *key;
        char *text;
    } texts[] = {{"license", card->license},
                 {"license_name", card->license_name},
                 {"license_link", card->license_link},
                 {"pipeline_tag", card->pipeline_tag}};
    *languages = key.n == 8 && memcmp(key.at, "language", 8) == 0;
    if (*languages && value.n)
        take_languages(card, value);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strlen(texts[i].key) == key.n && memcmp(key.at, texts[i].key, key.n) == 0)
            take_value(value, "", texts[i].text, MQ_CARD_TEXT);
}

static bool is_rule(struct line line)
{
    return line.n >= 3 && (memcmp(line.at, "---", 3) == 0 || memcmp(line.at, "...", 3) == 0);
}

void mq_model_card_parse(const char *text, size_t n, struct mq_model_card *card)
{
    const char *end = text + n;
    struct line line;
    bool languages = false;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    if (!next_line(&text, end, &line) || !is_rule(line) || line.at[0] != '-')
        return;
    while (next_line(&text, end, &line) && !is_rule(line)) {
        const bool inner = line.n && (line.at[0] == ' ' || line.at[0] == '-');
        struct line s = line;
        trim(&s);
        const char *colon = s.n ? memchr(s.at, ':', s.n) : NULL;
        if (inner && languages && s.n >= 2 && s.at[0] == '-' && s.at[1] == ' ') {
            size_t used;
            s.at += 2;
            s.n -= 2;
            trim(&s);
            add_language(card, s, "", &used);
        } else if (!inner && colon) {
            struct line key = {s.at, (size_t)(colon - s.at)},
                        value = {colon + 1, s.n - (size_t)(colon + 1 - s.at)};
            trim(&key);
            trim(&value);
            take_key(card, key, value, &languages);
        }
    }
}

/* "owner/name" as the Hub has them: letters, digits and "-_.". */
static bool is_repository(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const size_t owner = strspn(name, allowed);
    const char *rest = name + owner + 1;
    return owner && name[0] != '.' && name[owner] == '/' && *rest && *rest != '.' &&
           rest[strspn(rest, allowed)] == '\0' && strlen(name) < MQ_CARD_TEXT;
}

/* A file that is absent, or no file that could be used, is as if it were not there. */
static moeq_status unless_unusable(moeq_error *mine, moeq_error *err)
{
    const bool lost = mine->status == MOEQ_IO || mine->status == MOEQ_NO_MEMORY;
    return lost ? mq_fail_with(err, mine) : MOEQ_OK;
}

static moeq_status read_readme(const char *folder, struct mq_model_card *card, moeq_error *err)
{
    char path[4096];
    struct mq_buffer text = {0};
    moeq_error mine = {0};
    snprintf(path, sizeof path, "%s/README.md", folder);
    if (mq_file_read_all(path, MOST_BYTES, &text, &mine) == MOEQ_OK && text.data)
        mq_model_card_parse(text.data, text.size, card);
    mq_buffer_free(&text);
    return unless_unusable(&mine, err);
}

/* What config.json says that the model is called. */
static moeq_status read_config(const char *folder, struct mq_model_card *card, moeq_error *err)
{
    static const struct mq_json_limits limits = {.depth = 32, .values = 1000000};
    char path[4096];
    struct mq_buffer text = {0};
    cJSON *config = NULL;
    moeq_error mine = {0};
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (mq_file_read_all(path, MOST_CONFIG, &text, &mine) == MOEQ_OK && text.data &&
        mq_json_parse(text.data, text.size, &limits, path, 0, &config, &mine) == MOEQ_OK) {
        const cJSON *name = mq_json_get(config, "_name_or_path");
        if (cJSON_IsString(name) && is_repository(name->valuestring)) {
            snprintf(card->repository, sizeof card->repository, "%s", name->valuestring);
            card->repository_from = "_name_or_path";
        }
    }
    cJSON_Delete(config);
    mq_buffer_free(&text);
    return unless_unusable(&mine, err);
}

moeq_status mq_model_card_read(const char *folder, struct mq_model_card *card, moeq_error *err)
{
    enum mq_path_kind kind;
    *card = (struct mq_model_card){0};
    MQ_TRY(mq_path_look(folder, &kind, err));
    if (kind != MQ_PATH_FOLDER)
        return MOEQ_OK;
    MQ_TRY(read_readme(folder, card, err));
    if (mq_hf_repository_of(folder, card->repository, sizeof card->repository) &&
        is_repository(card->repository)) {
        card->repository_from = "the Hugging Face cache";
        return MOEQ_OK;
    }
    card->repository[0] = '\0';
    return read_config(folder, card, err);
}
