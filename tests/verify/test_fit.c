/*
 * What fit says of published models, from their config.json alone: sizes against the published
 * numbers, verdicts for common cards, and claims that go around about Mixtral.
 */
#include "test_support.h"
#include "fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_tests(TCase *tests)
{
    (void)tests;
}

int main(void)
{
    return mq_test_main("fit", add_tests);
}
