/* Lets requests in that were signed with a shared secret: X-Signature: t=SECONDS,v1=HEX, the
 * HMAC-SHA256 of "SECONDS\nMETHOD\nTARGET". Shows a policy in C++17: what needs a destructor is
 * made in start() and destroyed in stop(), everything else is the host's memory.
 *
 * Two rules for C++: no exception leaves a hook (the caller is C), and nothing with a destructor is
 * static or thread_local (the image could not be unloaded; `weir plugin lint` tells). */
#include <array>
#include <charconv>
#include <exception>
#include <memory>
#include <new>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string>
#include <string_view>

#include <weir/weir.h>

namespace
{

std::string_view view(weir_str text)
{
    return text.data == nullptr ? std::string_view() : std::string_view(text.data, text.size);
}

/* ---- HMAC-SHA256 with one key */

struct freed {
    void operator()(EVP_MAC *mac) const noexcept
    {
        EVP_MAC_free(mac);
    }
    void operator()(EVP_MAC_CTX *context) const noexcept
    {
        EVP_MAC_CTX_free(context);
    }
};

class signer
{
  public:
    using digest = std::array<unsigned char, 32>;

    /* False: OpenSSL has no HMAC, or no memory. */
    bool take_key(std::string_view key)
    {
        char name[] = "SHA256";
        const OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
            OSSL_PARAM_construct_end()};
        const std::unique_ptr<EVP_MAC, freed> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
        if (!mac)
            return false;
        keyed.reset(EVP_MAC_CTX_new(mac.get()));
        return keyed &&
               EVP_MAC_init(keyed.get(), reinterpret_cast<const unsigned char *>(key.data()),
                            key.size(), parameters) == 1;
    }

    /* The keyed context is copied, so the key is prepared once and not for every request. */
    bool sign(std::string_view text, digest &out) const
    {
        const std::unique_ptr<EVP_MAC_CTX, freed> one(EVP_MAC_CTX_dup(keyed.get()));
        std::size_t size = 0;
        return one &&
               EVP_MAC_update(one.get(), reinterpret_cast<const unsigned char *>(text.data()),
                              text.size()) == 1 &&
               EVP_MAC_final(one.get(), out.data(), &size, out.size()) == 1 && size == out.size();
    }

  private:
    std::unique_ptr<EVP_MAC_CTX, freed> keyed;
};

/* ---- the policy */

/* The host fills the first members, zeroes the others and frees all of it without calling a
 * destructor: plain data only. */
struct policy {
    weir_str header, secret;
    int64_t tolerance_ms;

    weir_header_id id;
    signer *mine; /* from start() to stop() */
};

constexpr weir_field fields[] = {
    WEIR_STRING(policy, header, .flags = WEIR_HEADER_NAME, .def = "X-Signature",
                .help = "header with the signature"),
    WEIR_STRING(policy, secret, .flags = WEIR_REQUIRED | WEIR_SECRET,
                .help = "what client and gateway share"),
    WEIR_DURATION(policy, tolerance_ms, .key = "tolerance", .def = "300s", .min = 1000,
                  .help = "how far the time of a signature may lie from now"),
};

int configure(void *self, weir_error *error)
{
    auto &mine = *static_cast<policy *>(self);
    mine.id = weir_header_intern(mine.header);
    if (mine.id == 0) {
        weir_error_at(error, "header", "no memory");
        return 1;
    }
    if (mine.secret.size < 16) {
        weir_error_at(error, "secret", "must have at least 16 bytes");
        return 1;
    }
    return 0;
}

int start(void *self)
{
    auto &mine = *static_cast<policy *>(self);
    std::unique_ptr<signer> made(new (std::nothrow) signer);
    if (!made || !made->take_key(view(mine.secret)))
        return -1; /* stop() is not called then */
    mine.mine = made.release();
    return 0;
}

void stop(void *self)
{
    auto &mine = *static_cast<policy *>(self);
    delete mine.mine;
    mine.mine = nullptr;
}

/* ---- the signature */

struct claim {
    int64_t seconds = 0;
    signer::digest digest{};
};

bool take_prefix(std::string_view &text, std::string_view prefix)
{
    if (text.substr(0, prefix.size()) != prefix)
        return false;
    text.remove_prefix(prefix.size());
    return true;
}

bool take_hex(std::string_view text, signer::digest &out)
{
    if (text.size() != 2 * out.size())
        return false;
    for (std::size_t i = 0; i < out.size(); i++) {
        const char *at = text.data() + 2 * i;
        const auto read = std::from_chars(at, at + 2, out[i], 16);
        if (read.ec != std::errc() || read.ptr != at + 2)
            return false;
    }
    return true;
}

bool read_claim(std::string_view text, claim &out)
{
    if (!take_prefix(text, "t="))
        return false;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), out.seconds);
    /* Beyond this a difference of times could overflow. */
    if (read.ec != std::errc() || out.seconds < 0 || out.seconds > 253402300799)
        return false;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return take_prefix(text, ",v1=") && take_hex(text, out.digest);
}

/* nullptr: it is good. */
const char *judge(weir_request *request, const policy &mine)
{
    claim said;
    if (!read_claim(view(weir_header_get(request, WEIR_SIDE_REQUEST, mine.id, 0)), said))
        return "A signature is required";
    const int64_t off_ms = weir_now_ms() - said.seconds * 1000;
    if (off_ms > mine.tolerance_ms || off_ms < -mine.tolerance_ms)
        return "The signature is too old";
    std::string text = std::to_string(said.seconds); /* may throw: see guarded() */
    text.append("\n").append(view(weir_request_text(request, WEIR_TEXT_METHOD)));
    text.append("\n").append(view(weir_request_text(request, WEIR_TEXT_RAW_TARGET)));
    signer::digest wanted;
    if (!mine.mine->sign(text, wanted))
        throw std::bad_alloc();
    /* memcmp() would tell by its time how much of a guess was right. */
    if (CRYPTO_memcmp(wanted.data(), said.digest.data(), wanted.size()) != 0)
        return "The signature is wrong";
    return nullptr;
}

weir_verdict access_phase(weir_request *request, const policy &mine)
{
    const char *why = judge(request, mine);
    if (why == nullptr)
        return WEIR_NEXT;
    return weir_respond_error(request, 401, {why, std::char_traits<char>::length(why)}) ==
                   WEIR_SUCCESS
               ? WEIR_DONE
               : WEIR_FAIL;
}

/* A hook that C may call: whatever is thrown ends here. WEIR_FAIL: on_error decides (closed: 500).
 */
template <weir_verdict (*hook)(weir_request *, const policy &)>
weir_verdict guarded(weir_request *request, void *self, void *) noexcept
{
    try {
        return hook(request, *static_cast<const policy *>(self));
    } catch (const std::exception &thrown) {
        weir_log(request, WEIR_LOG_ERROR, "the signature cannot be checked: %s", thrown.what());
    } catch (...) {
        weir_log(request, WEIR_LOG_ERROR, "the signature cannot be checked");
    }
    return WEIR_FAIL;
}

} // namespace

WEIR_PLUGIN("header-signature", "1.0.0", 0, .priority = 1020, .flags = WEIR_PLUGIN_AUTHENTICATES,
            WEIR_SELF(policy), WEIR_FIELDS(fields), .configure = configure, .start = start,
            .stop = stop, .access = guarded<access_phase>);
