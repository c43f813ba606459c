/*
 * replay_main.c: runs a fuzz target over files, without a fuzzer: every file of the folders and
 * every file given as arguments. So the corpora are tests, with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat info;
    if (!f || fstat(fileno(f), &info) != 0) {
        perror(path);
        if (f)
            fclose(f);
        return 1;
    }
    /* Of exactly the file's size, so that a sanitizer sees any read behind the end. */
    const size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size ? size : 1);
    const int bad = !data || fread(data, 1, size, f) != size;
    fclose(f);
    if (bad) {
        fprintf(stderr, "%s: cannot read %zu bytes\n", path, size);
    } else {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        replayed++;
    }
    free(data);
    return bad;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int replay(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(info.st_mode))
        return replay_file(path);
    struct dirent **entries;
    const int n = scandir(path, &entries, NULL, NULL);
    if (n < 0) {
        perror(path);
        return 1;
    }
    char **names = calloc((size_t)n + 1, sizeof *names);
    int failed = !names;
    for (int i = 0; i < n; i++) {
        if (names)
            names[i] = strdup(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (names)
        qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; names && i < n; i++) {
        char child[4096];
        if (names[i] && names[i][0] != '.' &&
            snprintf(child, sizeof child, "%s/%s", path, names[i]) < (int)sizeof child)
            failed |= replay(child);
        free(names[i]);
    }
    free(names);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%zu inputs replayed\n", replayed);
    /* No input at all is a mistake in the call. */
    return failed || !replayed;
}
