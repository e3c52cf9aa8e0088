#include "base64.h"

enum { NO_LETTER = 255, LOOSE = 64 };

/* What each ASCII byte means; + LOOSE: in the other alphabet, '+' for '-' and '/' for '_'. */
/* clang-format off */
static const unsigned char meanings[128] = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 126, 255,  62, 255, 127,
     52,  53,  54,  55,  56,  57,  58,  59,  60,  61, 255, 255, 255, 255, 255, 255,
    255,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, 255, 255, 255, 255,  63,
    255,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 255, 255, 255, 255, 255
};
/* clang-format on */

static bool decode(weir_str text, bool loose, unsigned char *out, size_t *out_size)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t size = 0;
    if (text.size % 4 == 1)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        unsigned value = byte < 128 ? meanings[byte] : NO_LETTER;
        if (value >= LOOSE && (!loose || value == NO_LETTER))
            return false;
        bits = bits << 6 | (value & 63);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[size++] = (unsigned char)(bits >> have);
        }
    }
    /* Bits that say nothing must be zero, or two texts would mean the same bytes. */
    if (!loose && (bits & ((1U << have) - 1)) != 0)
        return false;
    *out_size = size;
    return true;
}

bool base64url_decode(weir_str text, unsigned char *out, size_t *out_size)
{
    return decode(text, false, out, out_size);
}

bool base64_decode_any(weir_str text, unsigned char *out, size_t *out_size)
{
    for (unsigned padding = 0; padding < 2 && text.size > 0 && text.data[text.size - 1] == '=';
         padding++)
        text.size--;
    return decode(text, true, out, out_size);
}
