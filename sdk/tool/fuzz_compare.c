/* Plans that compare answers: the same request again, its bodies cut otherwise, and the same
 * conversation with a reload or a swap in its middle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_plans.h"
#include "fuzz_report.h"

enum { TALK = 6, SHOWN = 100 };

/* The first line in which they differ, of each. false: they do not. */
static bool find_difference(const char *a, const char *b, char line_a[SHOWN], char line_b[SHOWN])
{
    size_t line = 0, i = 0;
    for (; a[i] == b[i]; i++) {
        if (a[i] == '\0')
            return false;
        if (a[i] == '\n')
            line = i + 1;
    }
    (void)snprintf(line_a, SHOWN, "%.*s", (int)strcspn(a + line, "\n"), a + line);
    (void)snprintf(line_b, SHOWN, "%.*s", (int)strcspn(b + line, "\n"), b + line);
    return true;
}

/* On a kit of its own, so that nothing before it counts. NULL: the configuration is refused. */
static char *answer_of(struct lab *lab, const struct ask *ask)
{
    struct kit *kit = lab_kit(lab);
    char *text = NULL;
    if (kit != NULL) {
        kit_request *r = lab_finish(kit, ask);
        text = lab_signature(r);
        lab_free(r);
    }
    lab_close(lab, kit);
    return text;
}

static void compare(const char *kind, const char *what, const char *a, const char *b)
{
    char line_a[SHOWN], line_b[SHOWN];
    if (a != NULL && b != NULL && find_difference(a, b, line_a, line_b))
        report_find(kind, "", "%s: '%s' and '%s'", what, line_a, line_b);
}

static void make_ask(struct lab *lab, struct ask *ask, bool tidy, const char *plan)
{
    char text[400];
    ask_make(ask, &lab->dice, tidy);
    ask->takes_ms = 0;
    ask->held = false;
    ask_tell(ask, text, sizeof(text));
    report_scenario("%s:\n  %s", plan, text);
}

void plan_repeat(struct lab *lab)
{
    static struct ask ask;
    for (int i = 0; i < 2 && !watch_is_own_master(); i++) {
        make_ask(lab, &ask, i == 0, "the same request twice, each on a fresh gateway");
        char *first = answer_of(lab, &ask), *second = answer_of(lab, &ask);
        compare("unrepeatable answer", "the same request twice", first, second);
        free(first);
        free(second);
    }
}

void plan_splits(struct lab *lab)
{
    static struct ask ask;
    static const size_t pieces[] = {1, 3, 64};
    if (watch_is_own_master())
        return;
    make_ask(lab, &ask, dice_chance(&lab->dice, 50), "the same bodies, cut otherwise");
    ask.split = 0;
    char *whole = answer_of(lab, &ask);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        char what[64];
        ask.split = pieces[i];
        (void)snprintf(what, sizeof(what), "a body in one piece, then in pieces of %zu", ask.split);
        report_step("in pieces of %zu", ask.split);
        char *cut = answer_of(lab, &ask);
        compare("split changes the answer", what, whole, cut);
        free(cut);
    }
    free(whole);
}

/* ---- a swap in the middle of a conversation */

static char *talk(struct lab *lab, const struct ask *ask, bool swap)
{
    char *all = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&all, &size);
    struct kit *kit = lab_kit(lab);
    for (int i = 0; kit != NULL && out != NULL && i < TALK; i++) {
        if (i == TALK / 2) {
            if (swap)
                (void)subject_swap(lab->subject);
            (void)kit_reload(kit, lab->subject->yaml);
        }
        kit_request *r = lab_finish(kit, ask);
        char *text = lab_signature(r);
        (void)fputs(text, out);
        free(text);
        lab_free(r);
    }
    lab_close(lab, kit);
    if (out != NULL)
        (void)fclose(out);
    return all;
}

/* A reload makes `self` anew in the same image; a swap makes the image's own variables anew, too.
 * So only what is kept in those can tell the two apart. */
void plan_swap(struct lab *lab)
{
    static struct ask ask;
    for (int i = 0; i < 2 && !watch_is_own_master(); i++) {
        make_ask(lab, &ask, true, "six times the same request, a reload or a swap in the middle");
        char *reloaded = talk(lab, &ask, false), *swapped = talk(lab, &ask, true);
        compare("static state", "after a reload of the same build, then after a swap", reloaded,
                swapped);
        free(reloaded);
        free(swapped);
    }
}
