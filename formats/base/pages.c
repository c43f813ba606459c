#include "pages.h"

#include "checked.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *mq_pages_alloc(size_t bytes)
{
    /* a few huge pages at least: of less, rounding up would waste too much */
    const size_t page = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 4096;
    if (bytes > SIZE_MAX - page)
        return NULL;
    const size_t rounded = mq_round_up(bytes ? bytes : 1, page);
    void *memory = aligned_alloc(page, rounded);
#if defined(MADV_HUGEPAGE)
    if (memory && page == HUGE_PAGE)
        (void)madvise(memory, rounded, MADV_HUGEPAGE); /* a hint: without it all is slower */
#endif
    return memory;
}
