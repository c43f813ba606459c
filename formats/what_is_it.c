/*
 * what_is_it.c: a table of first bytes, and the few kinds that take more than comparing them.
 *
 * Sources of the magics: each format's specification; GGML's of before GGUF: llama.cpp's
 * convert_llama_ggml_to_gguf.py and the file headers in the history of its llama.cpp (a u32, so
 * that the letters stand backwards in the file); torch.save's: PyTorch's serialization.py.
 */
#include "what_is_it.h"

#include "checked.h"
#include "error.h"
#include "json.h"
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READS "moeq reads Hugging Face folders (safetensors), moeq and GGUF files"
#define FETCH "fetch it again (hf download OWNER/NAME FILE, which checks what came)"
#define UNPACK "unpack it, and give what is inside; " READS
#define PICKLE "such files can run code when loaded, and moeq does not load them: " READS
#define UNPACK_OR_PICKLE                                                                          \
    "unpack it, and give what is inside; if PyTorch wrote it (.bin, .pt, .pth), it can run code " \
    "when loaded, and moeq does not load it"
#define OLD_GGML                                                                                 \
    "nothing reads it any more: get the model as GGUF or as its Hugging Face folder, or make a " \
    "GGUF file of it with llama.cpp's convert_llama_ggml_to_gguf.py"
#define OLD_LORA                                                                                \
    "an adapter alone is no model: merge it into its base model (peft: merge_and_unload), and " \
    "give "                                                                                     \
    "the result's folder"

/* By the bytes at an offset. */
static const struct {
    uint32_t offset, size;
    const char *magic, *is, *advice;
} magics[] = {
#define MAGIC(offset, bytes) offset, sizeof(bytes) - 1, bytes
    {MAGIC(0, "version https://git-lfs.github.com/"), "is a Git LFS pointer",
     "git lfs pull in its clone fetches the file itself, or hf download OWNER/NAME"},
    {MAGIC(0, "version https://hawser.github.com/"), "is a Git LFS pointer",
     "git lfs pull in its clone fetches the file itself"},
    {MAGIC(0, "lmgg"), "is a GGML file of before August 2023 (without a version)", OLD_GGML},
    {MAGIC(0, "fmgg"), "is a GGML file of before August 2023 (ggmf)", OLD_GGML},
    {MAGIC(0, "tjgg"), "is a GGML file of before August 2023 (ggjt)", OLD_GGML},
    {MAGIC(0, "ccgg"), "is a GGML file of before August 2023 (ggcc, Falcon)", OLD_GGML},
    {MAGIC(0, "algg"), "is a LoRA adapter of before GGUF (ggla)", OLD_LORA},
    {MAGIC(0, "ggml"), "is a GGML file of before August 2023 (big-endian)", OLD_GGML},
    {MAGIC(0, "ggmf"), "is a GGML file of before August 2023 (ggmf, big-endian)", OLD_GGML},
    {MAGIC(0, "ggjt"), "is a GGML file of before August 2023 (ggjt, big-endian)", OLD_GGML},
    {MAGIC(0, "ggla"), "is a LoRA adapter of before GGUF (ggla, big-endian)", OLD_LORA},
    {MAGIC(0, "MZqFpD"), "is a llamafile, a program with a model inside",
     "take the model out of it: unzip FILE '*.gguf'"},
    {MAGIC(0, "PK\x05\x06"), "is an empty zip archive", FETCH},
    {MAGIC(0, "\x1f\x8b"), "is a gzip archive", UNPACK},
    {MAGIC(0, "\xfd"
              "7zXZ"),
     "is an xz archive", UNPACK},
    {MAGIC(0, "BZh"), "is a bzip2 archive", UNPACK},
    {MAGIC(0, "\x28\xb5\x2f\xfd"), "is a zstd archive", UNPACK},
    {MAGIC(0, "7z\xbc\xaf\x27\x1c"), "is a 7-Zip archive", UNPACK},
    {MAGIC(0, "Rar!\x1a\x07"), "is a RAR archive", UNPACK},
    {MAGIC(257, "ustar"), "is a tar archive", UNPACK},
    {MAGIC(0, "\x93NUMPY"), "is an array of NumPy (.npy)", READS},
    {MAGIC(0, "\x89HDF\r\n\x1a\n"), "is an HDF5 file, as Keras and TensorFlow write", READS},
    {MAGIC(0, "\0\x05\x16\x07"), "is the side file that macOS keeps beside another (._NAME)",
     "give the file of the name without ._"},
    {MAGIC(0, "\x7f"
              "ELF"),
     "is a program", READS},
#undef MAGIC
};

struct look {
    const char *bytes;
    size_t n;
    uint64_t size_bytes;
    struct mq_what *what;
};

static bool say(const struct look *l, enum mq_file_kind kind, const char *is, const char *advice)
{
    l->what->kind = kind;
    l->what->advice = advice;
    if (is)
        snprintf(l->what->is, sizeof l->what->is, "%s", is);
    return true;
}

static bool begins(const struct look *l, const char *text)
{
    const size_t n = strlen(text);
    return l->n >= n && memcmp(l->bytes, text, n) == 0;
}

/* Where `text` stands in the look; -1 if it does not. */
static long find(const struct look *l, const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + n <= l->n; i++)
        if (memcmp(l->bytes + i, text, n) == 0)
            return (long)i;
    return -1;
}

static uint64_t load(const char *bytes, int n)
{
    uint64_t value = 0;
    while (n--)
        value = value << 8 | (unsigned char)bytes[n];
    return value;
}

/* ---- kinds that take a look of their own; each says true where it has spoken ---- */

static bool nothing_in_it(const struct look *l)
{
    if (!l->size_bytes)
        return say(l, MQ_FILE_BLANK,
                   "is empty (a download or copy that did not begin, or ran out "
                   "of disk)",
                   FETCH);
    for (size_t i = 0; i < l->n; i++)
        if (l->bytes[i])
            return false;
    if (l->n < 8 && l->n < l->size_bytes)
        return false;
    snprintf(l->what->is, sizeof l->what->is,
             "begins with %zu zero bytes (of %" PRIu64 "): room that was reserved and not filled, "
             "as by an interrupted download, or a damaged disk",
             l->n, l->size_bytes);
    return say(l, MQ_FILE_BLANK, NULL, FETCH);
}

/* A length that can be one, and the JSON's brace. */
static bool safetensors(const struct look *l)
{
    return l->n >= 9 && load(l->bytes, 8) <= MQ_SAFETENSORS_MAX_HEADER && l->bytes[8] == '{' &&
           say(l, MQ_FILE_SAFETENSORS, "is a safetensors file",
               "for a Hugging Face model give its folder");
}

static bool gguf(const struct look *l)
{
    return begins(l, "GGUF") &&
           say(l, MQ_FILE_GGUF, "is a GGUF file", "give the file itself as the model");
}

#define BOM "\xef\xbb\xbf" /* a byte order mark */

/* The size of what a Git LFS pointer stands for is in its text, which an editor may have saved. */
static bool magic(const struct look *whole)
{
    struct look behind = *whole;
    const struct look *l = begins(whole, BOM "version ") ? &behind : whole;
    behind.bytes += l == whole ? 0 : sizeof BOM - 1;
    behind.n -= l == whole ? 0 : sizeof BOM - 1;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const uint32_t offset = magics[i].offset, size = magics[i].size;
        if (l->n < offset + size || memcmp(l->bytes + offset, magics[i].magic, size) != 0)
            continue;
        say(l, MQ_FILE_OTHER, magics[i].is, magics[i].advice);
        const long at = begins(l, "version ") ? find(l, "\nsize ") : -1;
        uint64_t bytes = 0;
        for (size_t k = (size_t)at + 6; at >= 0 && k < l->n && bytes < UINT64_MAX / 100 &&
                                        l->bytes[k] >= '0' && l->bytes[k] <= '9';
             k++)
            bytes = 10 * bytes + (uint64_t)(l->bytes[k] - '0');
        if (bytes)
            snprintf(l->what->is, sizeof l->what->is,
                     "%s, which stands for a file of %" PRIu64 " bytes", magics[i].is, bytes);
        return true;
    }
    return false;
}

/* By the name of the first file in it. torch.save: NAME/data.pkl; numpy.savez: NAME.npy. */
static bool zip(const struct look *l)
{
    if (!begins(l, "PK\x03\x04") || l->n < 30)
        return begins(l, "PK\x03\x04") &&
               say(l, MQ_FILE_OTHER, "is a zip archive", UNPACK_OR_PICKLE);
    const size_t n = mq_min_u64(load(l->bytes + 26, 2), l->n - 30);
    const char *name = l->bytes + 30;
    if (n >= 8 && memcmp(name + n - 8, "data.pkl", 8) == 0)
        return say(l, MQ_FILE_OTHER, "is a zip archive of PyTorch's (.bin, .pt, .pth)", PICKLE);
    if (n >= 4 && memcmp(name + n - 4, ".npy", 4) == 0)
        return say(l, MQ_FILE_OTHER, "is a zip archive of NumPy arrays (.npz)", READS);
    return say(l, MQ_FILE_OTHER, "is a zip archive", UNPACK_OR_PICKLE);
}

/* PROTO 2 to 5, then an opcode: a text or number, a global, an empty dictionary, list or tuple, a
 * frame. torch.save's of before 2020 begins with its magic number, a LONG1. */
static bool pickle(const struct look *l)
{
    return l->n >= 3 && l->bytes[0] == '\x80' && l->bytes[1] >= 2 && l->bytes[1] <= 5 &&
           strchr("\x8a}])(cXK\x95\x8c", l->bytes[2]) && l->bytes[2] &&
           say(l, MQ_FILE_OTHER, "is a pickle of Python's, as PyTorch wrote (.bin, .pt, .pth)",
               PICKLE);
}

/* llama.cpp's importance matrix of before GGUF: a count, then a length and a tensor's name. */
static bool old_imatrix(const struct look *l)
{
    return l->n >= 16 && load(l->bytes, 4) < 1 << 20 && load(l->bytes + 4, 4) < 256 &&
           (memcmp(l->bytes + 8, "blk.", 4) == 0 || memcmp(l->bytes + 8, "output.", 7) == 0) &&
           say(l, MQ_FILE_OTHER, "is an importance matrix of llama.cpp's (imatrix.dat)",
               "it has no weights: give the model that it was made of");
}

/* A protobuf whose first field is a piece: a field of its text. */
static bool sentencepiece(const struct look *l)
{
    return l->n >= 9 && l->bytes[0] == '\x0a' && l->bytes[2] == '\x0a' &&
           (memcmp(l->bytes + 4, "<unk>", 5) == 0 || memcmp(l->bytes + 4, "<pad>", 5) == 0) &&
           say(l, MQ_FILE_OTHER, "is a sentencepiece model (tokenizer.model)",
               "give the model's folder");
}

/* ---- text ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* UTF-8 without control characters, as far as the look goes. */
static bool is_text(const struct look *l)
{
    size_t bad = l->n;
    for (size_t i = 0; i < l->n; i++)
        if (((unsigned char)l->bytes[i] < ' ' && !is_space(l->bytes[i]) && l->bytes[i] != '\f') ||
            l->bytes[i] == 0x7f)
            return false;
    return mq_utf8_valid(l->bytes, l->n, &bad) || (l->n < l->size_bytes && bad + 4 > l->n);
}

/* Without regard to case; `text` is in small letters. */
static bool begins_text(const char *at, size_t n, const char *text)
{
    for (; *text; text++, at++, n--)
        if (!n || (*at >= 'A' && *at <= 'Z' ? *at + 32 : *at) != *text)
            return false;
    return true;
}

/* The beginning of the text, on one line. */
static void quote(const struct look *l, const char *at, const char *format)
{
    char line[64];
    size_t n = 0;
    for (const char *end = l->bytes + l->n; at < end && n + 1 < sizeof line && *at != '\n'; at++)
        line[n++] = *at >= ' ' && *at < 0x7f ? *at : '?';
    while (n && line[n - 1] == '?')
        n--;
    line[n] = '\0';
    snprintf(l->what->is, sizeof l->what->is, format, line);
}

static bool text(const struct look *l)
{
    static const char *const pages[] = {"<!doctype html", "<html", "<head", "<body", "<script"};
    static const char *const errors[] = {"\"error\"", "\"errors\"", "\"message\"", "\"detail\"",
                                         "\"errormessage\""};
    const char *at = l->bytes, *end = l->bytes + l->n;
    if (l->n < 4 || !is_text(l)) /* of fewer bytes nothing can be said */
        return false;
    if (begins(l, BOM))
        at += sizeof BOM - 1;
    while (at < end && is_space(*at))
        at++;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (begins_text(at, (size_t)(end - at), pages[i]))
            return say(l, MQ_FILE_OTHER, "is a web page (HTML), saved under this name",
                       "on huggingface.co the link with /resolve/ gives the file, the one with "
                       "/blob/ a page; or hf download OWNER/NAME FILE");
    if (begins_text(at, (size_t)(end - at), "<?xml") ||
        begins_text(at, (size_t)(end - at), "<error>")) {
        quote(l, at, "is XML (\"%s\"), as a server's refusal is");
        return say(l, MQ_FILE_OTHER, NULL, FETCH);
    }
    const bool json = at < end && (*at == '{' || *at == '[');
    const char *key = at + 1;
    while (json && key < end && is_space(*key))
        key++;
    for (size_t i = 0; json && i < sizeof errors / sizeof *errors; i++)
        if (begins_text(key, (size_t)(end - key), errors[i])) {
            quote(l, at, "is an error message in JSON (%s)");
            return say(l, MQ_FILE_OTHER, NULL,
                       "the server's answer was saved in place of the file: " FETCH);
        }
    if (json && find(l, "application/vnd.docker.distribution.manifest") >= 0)
        return say(l, MQ_FILE_OTHER, "is a manifest of Ollama's",
                   "the model is the file of blobs/ whose sha256 it gives for the layer "
                   "application/vnd.ollama.image.model");
    if (json)
        return say(l, MQ_FILE_JSON, "is JSON", "for a Hugging Face model give its folder");
    quote(l, at, "is text (\"%s\")");
    return say(l, MQ_FILE_TEXT, NULL, "if it is what a server said in place of the file, " FETCH);
}

/* ---- all of them ---- */

void mq_what_is(const void *start, size_t n, uint64_t size_bytes, struct mq_what *what)
{
    static bool (*const looks[])(const struct look *l) = {
        nothing_in_it, safetensors, gguf, magic, zip, pickle, old_imatrix, sentencepiece, text,
    };
    memset(what, 0, sizeof *what);
    const struct look l = {start, n < MQ_WHAT_BYTES ? n : MQ_WHAT_BYTES, size_bytes, what};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        if (looks[i](&l))
            return;
}

moeq_status mq_refuse_what(const char *path, const struct mq_what *what, unsigned wanted,
                           moeq_error *err)
{
    static const struct {
        unsigned kinds;
        const char *name;
    } names[] = {{MQ_FILE_SAFETENSORS, "safetensors file"},
                 {MQ_FILE_GGUF, "GGUF file"},
                 {MQ_FILE_JSON, "JSON file"},
                 {MQ_FILE_TEXT | MQ_FILE_JSON, "text"}};
    if (what->kind == MQ_FILE_UNKNOWN || (what->kind & wanted))
        return MOEQ_OK;
    const char *expected = "model";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].kinds == wanted)
            expected = names[i].name;
    const moeq_status status = what->kind == MQ_FILE_BLANK ? MOEQ_MALFORMED : MOEQ_UNSUPPORTED;
    return mq_fail_file(err, status, path, "%s, no %s: %s", what->is, expected, what->advice);
}

static moeq_status look_at(const struct mq_file *file, struct mq_what *what, moeq_error *err)
{
    char start[MQ_WHAT_BYTES] = "";
    const size_t n = (size_t)mq_min_u64(file->size_bytes, sizeof start);
    MQ_TRY(mq_file_read_at(file, 0, start, n, err));
    mq_what_is(start, n, file->size_bytes, what);
    return MOEQ_OK;
}

moeq_status mq_what_is_file(const char *path, struct mq_what *what, moeq_error *err)
{
    struct mq_file file;
    MQ_TRY(mq_file_open(path, &file, err));
    const moeq_status status = look_at(&file, what, err);
    mq_file_close(&file);
    return status;
}

moeq_status mq_refuse_other_file(const struct mq_file *file, unsigned wanted, moeq_error *err)
{
    struct mq_what what;
    MQ_TRY(look_at(file, &what, err));
    return mq_refuse_what(file->path, &what, wanted, err);
}

moeq_status mq_refuse_no_text(const char *path, moeq_error *err)
{
    char start[MQ_WHAT_BYTES] = "";
    struct mq_file file;
    struct mq_what what;
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return MOEQ_OK; /* whoever reads it speaks; a pipe can be read once */
    MQ_TRY(mq_file_open(path, &file, err));
    const struct look l = {start, (size_t)mq_min_u64(file.size_bytes, sizeof start),
                           file.size_bytes, &what};
    const moeq_status status = mq_file_read_at(&file, 0, start, l.n, err);
    mq_file_close(&file);
    if (status != MOEQ_OK)
        return status;
    mq_what_is(start, l.n, l.size_bytes, &what);
    const bool pointer = begins(&l, "version https://") && what.kind == MQ_FILE_OTHER;
    if (what.kind == MQ_FILE_BLANK || (is_text(&l) && !pointer))
        return MOEQ_OK;
    return mq_refuse_what(path, &what, MQ_FILE_TEXT | MQ_FILE_JSON, err);
}
