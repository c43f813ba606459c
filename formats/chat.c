/*
 * chat.c: the table of forms.
 *
 * Each row was compared with what Jinja makes of published templates
 * (tests/data/make_chat_goldens.py). Most specific rows first: the first one counts whose pieces
 * are all in the template and of whose `absent` none is. Pieces are as they stand in the template:
 * "\\n" is what Jinja turns into a newline.
 */
#include "chat.h"

#include "error.h"

#include <string.h>

enum {
    PIECES = 5,
    MOST_BYTES = 1 << 20 /* of a template that is looked at; published ones have up to 40,000 */
};

enum trim {
    TRIM_NOTHING,
    TRIM_EACH, /* white space around each message */
    TRIM_USER,
    TRIM_BOTH /* around what the messages are together */
};

enum system_place {
    SYSTEM_OPTIONAL,
    SYSTEM_REFUSED, /* the template raises an exception */
    SYSTEM_NEEDED   /* without one, the template has a long one, or one with a date */
};

struct mq_chat_form {
    const char *name;
    const char *has[PIECES], *absent[PIECES];
    enum trim trim;
    enum system_place place;
    const char *begin;         /* behind BOS */
    const char *system[2];     /* before and after a system message, */
    const char *no_system;     /* and in place of one; NULL: nothing */
    const char *turn[2];       /* before system (`inside`) and user's message, and after */
    bool inside;               /* the system message stands in the user's turn: the first one, */
    bool in_last;              /* or the last */
    /* A turn that was answered: after the user's message, and after the answer; NULL: not known. */
    const char *answer[2];
    bool trim_answer;
    const char *end;
};

#define CHATML_SYSTEM {"<|im_start|>system\n", "<|im_end|>\n"}
#define CHATML_TURN {"<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"}
#define CHATML_THINKING {"<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n"}
#define LLAMA3_SYSTEM(more) {"<|start_header_id|>system<|end_header_id|>\n\n" more, "<|eot_id|>"}
#define LLAMA3_TURN                                          \
    {"<|start_header_id|>user<|end_header_id|>\n\n",         \
     "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"}
/* What the templates of Llama 3.1 to 3.3 say where nobody tells them the day. */
#define LLAMA31_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
#define HARMONY_SYSTEM                                                                           \
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"      \
    "Knowledge cutoff: 2024-06\nCurrent date: %DATE%\n\nReasoning: medium\n\n"                    \
    "# Valid channels: analysis, commentary, final. Channel must be included for every message." \
    "<|end|>"
#define GRANITE_SYSTEM {"<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n"}
#define GRANITE_TURN                                  \
    {"<|start_of_role|>user<|end_of_role|>",          \
     "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>"}
#define CHATML_ANSWER {"<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"}
#define LLAMA3_ANSWER \
    {"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"}
#define GEMMA_ANSWER {"<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>\n"}
#define GRANITE_ANSWER \
    {"<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"}
#define KIMI_SYSTEM {"<|im_system|>system<|im_middle|>", "<|im_end|>"}
#define KIMI_TURN                              \
    {"<|im_user|>user<|im_middle|>",           \
     "<|im_end|><|im_assistant|>assistant<|im_middle|>"}
#define DEEPSEEK_USER "<｜User｜>"
#define DEEPSEEK_ASSISTANT "<｜Assistant｜>"
#define QWEN25_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

static const struct mq_chat_form forms[] = {
    {
        .name = "phi4",
        .has = {"<|im_start|>", "<|im_sep|>"},
        .system = {"<|im_start|>system<|im_sep|>", "<|im_end|>"},
        .turn = {"<|im_start|>user<|im_sep|>", "<|im_end|><|im_start|>assistant<|im_sep|>"},
        .answer = {"<|im_end|><|im_start|>assistant<|im_sep|>", "<|im_end|>"},
        .end = "<|im_end|>",
    },
    {
        .name = "qwen2.5",
        .has = {"<|im_start|>", QWEN25_SYSTEM},
        .absent = {"<think>"},
        .system = CHATML_SYSTEM,
        .no_system = "<|im_start|>system\n" QWEN25_SYSTEM "<|im_end|>\n",
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen2",
        .has = {"<|im_start|>", "You are a helpful assistant.<|im_end|>"},
        .absent = {"<think>"},
        .system = CHATML_SYSTEM,
        .no_system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen1.5",
        .has = {"<|im_start|>", "You are a helpful assistant<|im_end|>"},
        .absent = {"<think>"},
        .system = CHATML_SYSTEM,
        .no_system = "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n",
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "chatml-thinking",
        .has = {"<|im_start|>assistant\\n<think>\\n"},
        .absent = {"You are ", "|trim", "system\\n' }}", "</think>' }}"},
        .system = CHATML_SYSTEM,
        .turn = CHATML_THINKING,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen3.5",
        .has = {"<|im_start|>assistant\\n' }}", "'<think>\\n' }}", "|trim", "enable_thinking is false"},
        .trim = TRIM_EACH,
        .system = CHATML_SYSTEM,
        .turn = CHATML_THINKING,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "chatml",
        .has = {"<|im_start|>", "<|im_end|>"},
        .absent = {"You are ", "'<think>\\n' }}", "assistant\\n<think>", "system_message"},
        .system = CHATML_SYSTEM,
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen3", /* its words stand before tools alone */
        .has = {"<|im_start|>", "<|im_end|>", "You are provided with function signatures"},
        .absent = {"'<think>\\n' }}", "assistant\\n<think>", "helpful", "system\\nYou are",
                   "bos_token"},
        .system = CHATML_SYSTEM,
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen3-thinking",
        .has = {"<|im_start|>assistant\\n<think>\\n' }}", "You are provided with function signatures"},
        .absent = {"helpful", "system\\nYou are", "|trim", "'</think>' -}}"},
        .system = CHATML_SYSTEM,
        .turn = CHATML_THINKING,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "qwen3-coder",
        .has = {"<|im_start|>", "<|im_end|>", "can interact with a computer"},
        .absent = {"'<think>\\n' }}", "assistant\\n<think>"},
        .system = CHATML_SYSTEM,
        .turn = CHATML_TURN,
        .answer = CHATML_ANSWER,
        .end = "<|im_end|>",
    },
    {
        .name = "gpt-oss",
        .has = {"<|start|>system<|message|>", "You are ChatGPT", "<|channel|>"},
        .begin = HARMONY_SYSTEM,
        .system = {"<|start|>developer<|message|># Instructions\n\n", "\n\n<|end|>"},
        .turn = {"<|start|>user<|message|>", "<|end|><|start|>assistant"},
        .answer = {"<|end|><|start|>assistant<|channel|>final<|message|>", "<|end|>"},
        .end = "<|return|>",
    },
    {
        .name = "llama3.1",
        .has = {"<|start_header_id|>", "Cutting Knowledge Date: December 2023", "date_string"},
        .trim = TRIM_EACH,
        .system = LLAMA3_SYSTEM(LLAMA31_DATES),
        .no_system = "<|start_header_id|>system<|end_header_id|>\n\n" LLAMA31_DATES "<|eot_id|>",
        .turn = LLAMA3_TURN,
        .answer = LLAMA3_ANSWER,
        .end = "<|eot_id|>",
    },
    {
        .name = "llama3",
        .has = {"<|start_header_id|>", "<|end_header_id|>", "| trim"},
        .absent = {"You are ", "Cutting Knowledge", "functions", "think"},
        .trim = TRIM_EACH,
        .system = LLAMA3_SYSTEM(""),
        .turn = LLAMA3_TURN,
        .answer = LLAMA3_ANSWER,
        .end = "<|eot_id|>",
    },
    {
        .name = "llama4",
        .has = {"<|header_start|>", "<|header_end|>", "<|eot|>"},
        .trim = TRIM_EACH,
        .system = {"<|header_start|>system<|header_end|>\n\n", "<|eot|>"},
        .turn = {"<|header_start|>user<|header_end|>\n\n",
                 "<|eot|><|header_start|>assistant<|header_end|>\n\n"},
        .end = "<|eot|>",
    },
    {
        .name = "mistral-v7",
        .has = {"[SYSTEM_PROMPT] ", "[INST] "},
        .absent = {"default_system_message"},
        .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
        .turn = {"[INST] ", "[/INST]"},
        .answer = {"[/INST] ", "%EOS%"},
        .end = "</s>",
    },
    {
        .name = "mistral-v7-tekken",
        .has = {"[SYSTEM_PROMPT]", "[INST]", "default_system_message"},
        .absent = {"[SYSTEM_PROMPT] ", "[INST] "},
        .place = SYSTEM_NEEDED,
        .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
        .turn = {"[INST]", "[/INST]"},
        .answer = {"[/INST]", "%EOS%"},
        .end = "</s>",
    },
    {
        .name = "mistral-v1",
        .has = {"' [INST] '", "' [/INST]'", "system_message"},
        .absent = {"<<SYS>>"},
        .system = {"", "\n\n"},
        .turn = {" [INST] ", " [/INST]"},
        .inside = true,
        .answer = {" [/INST] ", "%EOS%"},
        .end = "</s>",
    },
    {
        .name = "mistral-v3-tekken",
        .has = {"[AVAILABLE_TOOLS]", "\"[INST]\"", "system_message"},
        .absent = {"[SYSTEM_PROMPT]", "[INST] "},
        .system = {"", "\n\n"},
        .turn = {"[INST]", "[/INST]"},
        .inside = true,
        .in_last = true,
        .answer = {"[/INST]", "%EOS%"},
        .end = "</s>",
    },
    {
        .name = "mistral-v3",
        .has = {"[AVAILABLE_TOOLS]", "\"[INST] \"", "system_message"},
        .absent = {"[SYSTEM_PROMPT]"},
        .system = {"", "\n\n"},
        .turn = {"[INST] ", "[/INST]"},
        .inside = true,
        .in_last = true,
        .answer = {"[/INST] ", "%EOS%"},
        .trim_answer = true,
        .end = "</s>",
    },
    {
        .name = "mistral",
        .has = {"'[INST] ' + message['content'] + ' [/INST]'", "user and assistant roles"},
        .absent = {"<<SYS>>", "system_message"},
        .place = SYSTEM_REFUSED,
        .turn = {"[INST] ", " [/INST]"},
        .answer = {" [/INST]", "%EOS%"},
        .end = "</s>",
    },
    {
        .name = "llama2",
        .has = {"bos_token + '[INST] '", "<<SYS>>", "content.strip()", "system_message = false"},
        .trim = TRIM_BOTH,
        .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
        .turn = {"[INST] ", " [/INST]"},
        .inside = true,
        .answer = {" [/INST] ", " %EOS%%BOS%"},
        .trim_answer = true,
        .end = "</s>",
    },
    {
        .name = "gemma3",
        .has = {"<start_of_turn>", "first_user_prefix", "<end_of_turn>"},
        .trim = TRIM_USER,
        .system = {"", "\n\n"},
        .turn = {"<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"},
        .inside = true,
        .answer = GEMMA_ANSWER,
        .trim_answer = true,
        .end = "<end_of_turn>",
    },
    {
        .name = "gemma",
        .has = {"<start_of_turn>", "System role not supported", "| trim"},
        .trim = TRIM_EACH,
        .place = SYSTEM_REFUSED,
        .turn = {"<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"},
        .answer = GEMMA_ANSWER,
        .end = "<end_of_turn>",
    },
    {
        .name = "gemma4",
        .has = {"<|turn>", "<turn|>", "<|channel>thought\\n<channel|>'"},
        .trim = TRIM_EACH,
        .system = {"<|turn>system\n", "<turn|>\n"},
        .turn = {"<|turn>user\n", "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"},
        .answer = {"<turn|>\n<|turn>model\n", "<turn|>\n"},
        .end = "<turn|>",
    },
    {
        .name = "deepseek-r1",
        .has = {DEEPSEEK_USER, DEEPSEEK_ASSISTANT "<think>\\n'}}"},
        .absent = {"enable_thinking", "'<｜end▁of▁sentence｜>" DEEPSEEK_ASSISTANT},
        .system = {"", ""},
        .turn = {DEEPSEEK_USER, DEEPSEEK_ASSISTANT "<think>\n"},
        .answer = {DEEPSEEK_ASSISTANT, "<｜end▁of▁sentence｜>"},
        .end = "<｜end▁of▁sentence｜>",
    },
    {
        .name = "deepseek-v3.1",
        .has = {DEEPSEEK_USER, "set thinking = false", "</think>'}}", "is_last_user"},
        .absent = {DEEPSEEK_ASSISTANT "<think></think>"},
        .system = {"", ""},
        .turn = {DEEPSEEK_USER, DEEPSEEK_ASSISTANT "</think>"},
        .end = "<｜end▁of▁sentence｜>",
    },
    {
        .name = "deepseek-v3",
        .has = {DEEPSEEK_USER, DEEPSEEK_ASSISTANT},
        .absent = {"think>\\n'}}", "<think>", "thinking"},
        .system = {"", ""},
        .turn = {DEEPSEEK_USER, DEEPSEEK_ASSISTANT},
        .answer = {DEEPSEEK_ASSISTANT, "<｜end▁of▁sentence｜>"},
        .end = "<｜end▁of▁sentence｜>",
    },
    {
        .name = "deepseek-v2",
        .has = {"'User: ' + message['content']", "'Assistant: ' + message['content'] + eos_token"},
        .system = {"", "\n\n"},
        .turn = {"User: ", "\n\nAssistant:"},
        .answer = {"\n\nAssistant: ", "%EOS%"},
        .end = "<｜end▁of▁sentence｜>",
    },
    {
        .name = "phi3",
        .has = {"<|system|>", "<|end|>", "<|user|>", "<|assistant|>"},
        .absent = {"You are ", "think", "tools", "<|observation|>"},
        .system = {"<|system|>\n", "<|end|>\n"},
        .turn = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
        .answer = {"<|end|>\n<|assistant|>\n", "<|end|>\n"},
        .end = "<|end|>",
    },
    {
        .name = "phi3", /* the same, by the name of the role */
        .has = {"'<|' + message['role'] + '|>'", "<|end|>", "<|assistant|>"},
        .absent = {"You are ", "think", "tools"},
        .system = {"<|system|>\n", "<|end|>\n"},
        .turn = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
        .answer = {"<|end|>\n<|assistant|>\n", "<|end|>\n"},
        .end = "<|end|>",
    },
    {
        .name = "granite4.0",
        .has = {"<|start_of_role|>", "You are a helpful assistant. Please ensure responses are "
                                     "professional, accurate, and safe."},
        .absent = {"Knowledge Cutoff"},
        .system = GRANITE_SYSTEM,
        .no_system = "<|start_of_role|>system<|end_of_role|>You are a helpful assistant. Please "
                     "ensure responses are professional, accurate, and safe.<|end_of_text|>\n",
        .turn = GRANITE_TURN,
        .answer = GRANITE_ANSWER,
        .end = "<|end_of_text|>",
    },
    {
        .name = "granite3",
        .has = {"<|start_of_role|>", "Knowledge Cutoff", "You are Granite"},
        .place = SYSTEM_NEEDED,
        .system = GRANITE_SYSTEM,
        .turn = GRANITE_TURN,
        .answer = GRANITE_ANSWER,
        .end = "<|end_of_text|>",
    },
    {
        .name = "granite",
        .has = {"<|start_of_role|>", "<|end_of_role|>"},
        .absent = {"You are Granite", "You are a helpful assistant"},
        .system = GRANITE_SYSTEM,
        .turn = GRANITE_TURN,
        .answer = GRANITE_ANSWER,
        .end = "<|end_of_text|>",
    },
    {
        .name = "kimi-k2-thinking",
        .has = {"<|im_system|>", "<|im_middle|>", "<|im_user|>", "<think></think>"},
        .place = SYSTEM_NEEDED,
        .system = KIMI_SYSTEM,
        .turn = KIMI_TURN,
        .answer = {"<|im_end|><|im_assistant|>assistant<|im_middle|><think></think>", "<|im_end|>"},
        .end = "<|im_end|>",
    },
    {
        .name = "kimi-k2",
        .has = {"<|im_system|>", "<|im_middle|>", "<|im_user|>"},
        .place = SYSTEM_NEEDED,
        .system = KIMI_SYSTEM,
        .turn = KIMI_TURN,
        .answer = {"<|im_end|><|im_assistant|>assistant<|im_middle|>", "<|im_end|>"},
        .end = "<|im_end|>",
    },
    {
        .name = "glm4.5",
        .has = {"[gMASK]<sop>", "<|observation|>", "/nothink"},
        .begin = "[gMASK]<sop>",
        .system = {"<|system|>\n", ""},
        .turn = {"<|user|>\n", "<|assistant|>"},
        .answer = {"<|assistant|>\n<think></think>\n", ""},
        .trim_answer = true,
        .end = "<|user|>",
    },
};
enum { FORMS = sizeof forms / sizeof *forms };

/* Whether a piece stands here. Its "\\n" are also newlines: so have them templates that went through one
 * more hand. */
static bool stands_at(const char *text, const char *end, const char *piece)
{
    while (*piece && text < end) {
        if (piece[0] == '\\' && piece[1] == 'n' && *text == '\n')
            piece++;
        else if (*piece != *text)
            return false;
        piece++, text++;
    }
    return !*piece;
}

static bool contains(const char *text, size_t n, const char *piece)
{
    const char *end = text + n, *newline = strstr(piece, "\\n");
    const size_t first = newline && newline > piece ? (size_t)(newline - piece) : strlen(piece);
    for (const char *at = text;; at++) {
        at = memmem(at, (size_t)(end - at), piece, first);
        if (!at || stands_at(at, end, piece))
            return at != NULL;
    }
}

static bool fits(const struct mq_chat_form *form, const char *text, size_t n)
{
    for (size_t i = 0; i < PIECES && form->has[i]; i++)
        if (!contains(text, n, form->has[i]))
            return false;
    for (size_t i = 0; i < PIECES && form->absent[i]; i++)
        if (contains(text, n, form->absent[i]))
            return false;
    return true;
}

const struct mq_chat_form *mq_chat_find(const char *text, size_t n)
{
    if (n > MOST_BYTES)
        return NULL;
    for (size_t i = 0; i < FORMS; i++)
        if (fits(&forms[i], text, n))
            return &forms[i];
    return NULL;
}

const char *mq_chat_form_name(const struct mq_chat_form *form)
{
    return form->name;
}

const char *mq_chat_form_end(const struct mq_chat_form *form)
{
    return form->end;
}

const char *mq_chat_form_at(size_t i)
{
    return i < FORMS ? forms[i].name : NULL;
}

/* ---- writing ---- */

struct span {
    const char *text;
    size_t size;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What Python's strip() leaves, of ASCII. */
static struct span trimmed(struct span s)
{
    while (s.size && is_space(s.text[0]))
        s.text++, s.size--;
    while (s.size && is_space(s.text[s.size - 1]))
        s.size--;
    return s;
}

static void put(struct mq_buffer *out, const char *text)
{
    if (text)
        mq_buffer_append(out, text, strlen(text));
}

/* What marks in a form's own words stand for. */
struct mq_chat_words {
    const char *date, *bos, *eos;
};

/* A form's own words. */
static void put_words(struct mq_buffer *out, const char *text, const struct mq_chat_words *words)
{
    const struct {
        const char *mark, *text;
    } marks[] = {{"%DATE%", words->date}, {"%BOS%", words->bos}, {"%EOS%", words->eos}};
    const size_t count = sizeof marks / sizeof *marks;
    while (text && *text) {
        size_t i = 0;
        while (i < count && strncmp(text, marks[i].mark, strlen(marks[i].mark)) != 0)
            i++;
        if (i < count)
            put(out, marks[i].text);
        else
            mq_buffer_append(out, text, 1);
        text += i < count ? strlen(marks[i].mark) : 1;
    }
}

static void put_system(struct mq_buffer *out, const struct mq_chat_form *form, struct span system)
{
    put(out, form->system[0]);
    mq_buffer_append(out, system.text, system.size);
    put(out, form->system[1]);
}

/* A user's message, in whose turn the system message may stand. */
static void put_user(struct mq_buffer *out, const struct mq_chat_form *form, const struct span *system,
                     struct span user)
{
    if (form->trim == TRIM_EACH || form->trim == TRIM_USER || (form->trim == TRIM_BOTH && !system))
        user = trimmed(user);
    put(out, form->turn[0]);
    if (system) {
        /* of both together only the user's message ends in white space */
        while (form->trim == TRIM_BOTH && user.size && is_space(user.text[user.size - 1]))
            user.size--;
        put_system(out, form, *system);
    }
    mq_buffer_append(out, user.text, user.size);
}

static moeq_status check_system(const struct mq_chat_form *form, const struct mq_chat_turn *turn,
                                moeq_error *err)
{
    if (turn->system && form->place == SYSTEM_REFUSED)
        return mq_fail(err, MOEQ_UNSUPPORTED,
                       "the model's chat template (form %s) has no place for a system message: "
                       "leave --system out, or put it into the message",
                       form->name);
    if (!turn->system && form->place == SYSTEM_NEEDED)
        return mq_fail(err, MOEQ_UNSUPPORTED,
                       "the model's chat template (form %s) brings a system message of its own, "
                       "which is not carried out here: give --system TEXT",
                       form->name);
    return MOEQ_OK;
}

/* Templates leave thoughts of earlier answers out, each in its own way: who writes a chat does it. */
static moeq_status check_earlier(const struct mq_chat_form *form, const struct mq_chat_turn *turn,
                                 moeq_error *err)
{
    if (turn->earlier_count && !form->answer[0])
        return mq_fail(err, MOEQ_UNSUPPORTED,
                       "how the model's chat template (form %s) writes answers that were given is "
                       "not known here: give one message by --chat, or the whole prompt by --prompt",
                       form->name);
    for (size_t i = 0; i < turn->earlier_count; i++) {
        const struct mq_chat_exchange *e = &turn->earlier[i];
        if (memmem(e->answer, e->answer_size, "</think>", 8))
            return mq_fail(err, MOEQ_UNSUPPORTED,
                           "answer %zu holds thoughts (\"</think>\"), which chat templates leave "
                           "out of what was said before: leave them out of the message",
                           i + 1);
    }
    return MOEQ_OK;
}

moeq_status mq_chat_write(const struct mq_chat_form *form, const char *text, size_t n,
                          const char *bos, const struct mq_chat_turn *turn,
                          struct mq_buffer *out, moeq_error *err)
{
    const struct mq_chat_words words = {turn->date, bos, turn->eos ? turn->eos : form->end};
    struct span system = {turn->system, turn->system_size};
    MQ_TRY(check_system(form, turn, err));
    MQ_TRY(check_earlier(form, turn, err));
    if (form->trim == TRIM_EACH)
        system = trimmed(system);
    if (contains(text, n, "bos_token"))
        put(out, bos);
    put_words(out, form->begin, &words);
    if (turn->system && !form->inside)
        put_system(out, form, system);
    else if (!turn->system)
        put_words(out, form->no_system, &words);
    const struct span *inside = turn->system && form->inside ? &system : NULL;
    for (size_t i = 0; i < turn->earlier_count; i++) {
        const struct mq_chat_exchange *e = &turn->earlier[i];
        struct span answer = {e->answer, e->answer_size};
        if (form->trim == TRIM_EACH || form->trim_answer)
            answer = trimmed(answer);
        put_user(out, form, i == 0 && !form->in_last ? inside : NULL,
                 (struct span){e->user, e->user_size});
        put_words(out, form->answer[0], &words);
        mq_buffer_append(out, answer.text, answer.size);
        put_words(out, form->answer[1], &words);
    }
    put_user(out, form, turn->earlier_count == 0 || form->in_last ? inside : NULL,
             (struct span){turn->user, turn->user_size});
    put(out, form->turn[1]);
    return out->failed ? mq_fail_memory(err, "writing a chat") : MOEQ_OK;
}
