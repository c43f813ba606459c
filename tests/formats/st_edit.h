/* st_edit.h: the tensors of a safetensors file in memory, to be renamed, added to and written. */
#ifndef MQ_ST_EDIT_H
#define MQ_ST_EDIT_H

#include "dtype.h"
#include "test_support.h"

struct st_edit {
    struct st_item {
        char name[256];
        enum mq_dtype dtype;
        uint32_t dims;
        uint64_t shape[4];
        unsigned char *bytes;
        size_t size;
    } items[512];
    size_t count;
};

/* Adds all tensors of a file. */
void st_edit_load(struct st_edit *edit, const char *path);
void st_edit_save(const struct st_edit *edit, const char *path);
void st_edit_free(struct st_edit *edit);

/* NULL if there is none. */
struct st_item *st_edit_find(struct st_edit *edit, const char *name);
void st_edit_remove(struct st_edit *edit, const char *name);
/* A new one, of zeros. dims from 0 to 2; sizes beyond are not looked at. */
struct st_item *st_edit_add(struct st_edit *edit, const char *name, enum mq_dtype dtype,
                            uint32_t dims, uint64_t a, uint64_t b);
/* Every name that begins with `old` begins with `new` instead. */
void st_edit_prefix(struct st_edit *edit, const char *old, const char *new);

#endif
