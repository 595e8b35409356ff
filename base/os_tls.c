/* SPDX-License-Identifier: MIT */
/*
 * TLS by OpenSSL. A BIO of our own calls send and recv, so that a peer that goes away is an error
 * and not a signal. There are no sessions, tickets, early data or renegotiation: a connection
 * begins with a full handshake or not at all.
 */
#include "base/os_tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/os_loop.h"

#define PROTOCOL_LEN_MAX 32
#define CERT_LIST_MAX    4096        /* bytes of certificates that a stranger may make us parse */
#define READ_AHEAD       (64u << 10) /* of one whose owner is known; there only while it is used */

struct c2_tls_context {
    SSL_CTX *ssl;    /* owned */
    BIO_METHOD *bio; /* owned */
    uint8_t alpn[PROTOCOL_LEN_MAX + 1];
    unsigned alpn_len;
};

struct c2_tls {
    SSL *ssl; /* owned */
    int fd;
    bool check_peer;
    bool broken;  /* no goodbye is possible */
    bool drained; /* the socket gave less than it was asked for: it has no more for now */
    uint8_t want[C2_ED25519_PUBLIC_LEN];
    uint8_t peer[C2_ED25519_PUBLIC_LEN];
};

/* ---- the socket ------------------------------------------------------------------------------ */

static bool
would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static int
socket_read(BIO *b, char *buf, int len)
{
    struct c2_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (t->drained) { /* the loop tells when there is more, so it need not be asked for in vain */
        t->drained = false;
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t n = recv(t->fd, buf, (size_t)len, 0);
    t->drained = n > 0 && n < len && SSL_is_init_finished(t->ssl);
    if (n < 0 && would_block())
        BIO_set_retry_read(b);
    return (int)n;
}

static int
socket_write(BIO *b, const char *data, int len)
{
    const struct c2_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t n = send(t->fd, data, (size_t)len, MSG_NOSIGNAL);
    if (n < 0 && would_block())
        BIO_set_retry_write(b);
    return (int)n;
}

static long
socket_ctrl(BIO *b, int cmd, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

/* ---- keys and certificates ------------------------------------------------------------------- */

static X509 *
make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();
    if (x == NULL)
        return NULL;
    X509_NAME *name = X509_get_subject_name(x);
    bool good = X509_set_version(x, X509_VERSION_3) == 1 &&
                ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
                ASN1_TIME_set_string(X509_getm_notBefore(x), "20000101000000Z") == 1 &&
                ASN1_TIME_set_string(X509_getm_notAfter(x), "99991231235959Z") == 1 &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"c2fs",
                                           -1, -1, 0) == 1 &&
                X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 &&
                X509_sign(x, key, NULL) > 0;
    if (!good) {
        X509_free(x);
        return NULL;
    }
    return x;
}

/* The only thing that is looked at in a certificate is its key; TLS proves the ownership. */
static int
check_certificate(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct c2_tls *t = SSL_get_app_data(ssl);
    X509 *x = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *key = x == NULL ? NULL : X509_get0_pubkey(x);
    size_t len = sizeof t->peer;
    bool good = key != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 &&
                EVP_PKEY_get_raw_public_key(key, t->peer, &len) == 1 && len == sizeof t->peer &&
                (!t->check_peer || memcmp(t->peer, t->want, sizeof t->want) == 0);
    X509_STORE_CTX_set_error(store, good ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return good ? 1 : 0;
}

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    const struct c2_tls_context *c = arg;
    for (unsigned i = 0; i < in_len && i + 1u + in[i] <= in_len; i += 1u + in[i]) {
        if (1u + in[i] == c->alpn_len && memcmp(in + i, c->alpn, c->alpn_len) == 0) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool
configure(struct c2_tls_context *c)
{
    SSL_CTX *s = c->ssl;
    char groups[] = "X25519"; /* the macros of OpenSSL cast const away */
    char signatures[] = "ed25519";
    SSL_CTX_set_mode(s, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(s, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(s, CERT_LIST_MAX);
    SSL_CTX_set_read_ahead(s, 1);
    SSL_CTX_set_verify(s, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(s, check_certificate, NULL);
    SSL_CTX_set_alpn_select_cb(s, choose_protocol, c);
    return SSL_CTX_set_min_proto_version(s, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(s, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(s, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") ==
               1 &&
           SSL_CTX_set1_groups_list(s, groups) == 1 &&
           SSL_CTX_set1_sigalgs_list(s, signatures) == 1 && SSL_CTX_set_num_tickets(s, 0) == 1 &&
           SSL_CTX_set_alpn_protos(s, c->alpn, c->alpn_len) == 0;
}

static bool
use_key(SSL_CTX *s, const uint8_t *secret)
{
    /* The first half of a secret key is its seed. */
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, 32);
    X509 *x = key == NULL ? NULL : make_certificate(key);
    bool good =
        x != NULL && SSL_CTX_use_certificate(s, x) == 1 && SSL_CTX_use_PrivateKey(s, key) == 1;
    X509_free(x);
    EVP_PKEY_free(key);
    return good;
}

static BIO_METHOD *
make_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "c2fs socket");
    if (m != NULL) {
        BIO_meth_set_read(m, socket_read);
        BIO_meth_set_write(m, socket_write);
        BIO_meth_set_ctrl(m, socket_ctrl);
    }
    return m;
}

C2_RESULT
c2_tls_context_new(const uint8_t secret[C2_ED25519_SECRET_LEN], const char *protocol,
                   struct c2_tls_context **ret_context)
{
    size_t len = strlen(protocol);
    C2_ASSERT(len >= 1 && len <= PROTOCOL_LEN_MAX);
    struct c2_tls_context *c = c2_calloc(1, sizeof *c);
    c->alpn[0] = (uint8_t)len;
    memcpy(c->alpn + 1, protocol, len);
    c->alpn_len = (unsigned)len + 1;
    c->ssl = SSL_CTX_new(TLS_method());
    c->bio = make_bio_method();
    if (c->ssl == NULL || c->bio == NULL || !configure(c) || !use_key(c->ssl, secret)) {
        ERR_clear_error();
        c2_tls_context_free(c);
        return C2_E_UNSUPPORTED;
    }
    *ret_context = c;
    return C2_E_OK;
}

void
c2_tls_context_free(struct c2_tls_context *c)
{
    if (c == NULL)
        return;
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->bio);
    c2_free(c);
}

/* ---- connections ----------------------------------------------------------------------------- */

struct c2_tls *
c2_tls_new(struct c2_tls_context *c, int fd, bool client, const uint8_t *peer)
{
    struct c2_tls *t = c2_calloc(1, sizeof *t);
    t->fd = fd;
    t->check_peer = peer != NULL;
    if (peer != NULL)
        memcpy(t->want, peer, sizeof t->want);
    t->ssl = SSL_new(c->ssl);
    BIO *b = BIO_new(c->bio);
    C2_ASSERT(t->ssl != NULL && b != NULL); /* out of memory, as anywhere else */
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_app_data(t->ssl, t);
    if (client)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    return t;
}

void
c2_tls_free(struct c2_tls *t)
{
    if (t == NULL)
        return;
    if (!t->broken && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
    ERR_clear_error();
    SSL_free(t->ssl);
    c2_free(t);
}

static enum c2_err
verdict(struct c2_tls *t, int rc, unsigned *ret_events)
{
    int why = SSL_get_error(t->ssl, rc);
    enum c2_err err = C2_E_AGAIN;
    if (why == SSL_ERROR_WANT_READ) {
        *ret_events = C2_FD_IN;
    } else if (why == SSL_ERROR_WANT_WRITE) {
        *ret_events = C2_FD_OUT;
    } else {
        /* Without close_notify an end is SSL_ERROR_SYSCALL or an "unexpected eof" of SSL. */
        bool ended = why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SYSCALL ||
                     ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
        err = ended ? C2_E_UNREACHABLE : C2_E_TLS;
        t->broken = true;
    }
    ERR_clear_error();
    return err;
}

C2_RESULT
c2_tls_handshake(struct c2_tls *t, unsigned *ret_events)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return verdict(t, rc, ret_events);
    const unsigned char *protocol = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(t->ssl, &protocol, &len);
    SSL_set_default_read_buffer_len(t->ssl, READ_AHEAD); /* else a call for each record */
    return len != 0 ? C2_E_OK : C2_E_TLS;                /* a peer may have named none */
}

C2_RESULT
c2_tls_read(struct c2_tls *t, void *buf, size_t len, size_t *ret_len, unsigned *ret_events)
{
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, buf, len, ret_len);
    return rc == 1 ? C2_E_OK : verdict(t, rc, ret_events);
}

bool
c2_tls_has_more(const struct c2_tls *t)
{
    return SSL_has_pending(t->ssl) == 1;
}

C2_RESULT
c2_tls_write(struct c2_tls *t, const void *data, size_t len, size_t *ret_len, unsigned *ret_events)
{
    ERR_clear_error();
    int rc = SSL_write_ex(t->ssl, data, len, ret_len);
    return rc == 1 ? C2_E_OK : verdict(t, rc, ret_events);
}

const uint8_t *
c2_tls_peer(const struct c2_tls *t)
{
    return t->peer;
}
