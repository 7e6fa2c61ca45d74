/* A floor: one epoll loop that answers each request with constant bytes for its path, and does nothing else.

   floor PATH FILE [PATH FILE]...   FILE holds the whole answer to GET PATH, head and body.

   It listens on a free port of the loopback, which it tells on its standard output, as our other peers do. No server
   that takes requests from sockets and copies answers into them can be much cheaper. For measuring only: nothing is
   ever given up for being slow, and a request is known by its target alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 512, HEAD_BYTES = 4096, PATHS = 64 };

struct answer {
    const char *path;
    size_t path_length;
    char *bytes;
    size_t length;
};

struct connection {
    int socket;
    unsigned watched;  /* EPOLLIN or EPOLLOUT */
    const char *unsent;
    size_t unsent_length;
    size_t filled;
    char head[HEAD_BYTES];
};

static const char unknown[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
static struct answer answers[PATHS];
static int known;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *room(size_t bytes) {
    void *made = calloc(1, bytes);
    if (!made) fail("memory");
    return made;
}

static void learn(struct answer *one, const char *path, const char *file) {
    FILE *opened = fopen(file, "rb");
    if (!opened || fseek(opened, 0, SEEK_END)) fail(file);
    one->path = path;
    one->path_length = strlen(path);
    one->length = (size_t)ftell(opened);
    one->bytes = room(one->length + 1);
    rewind(opened);
    if (fread(one->bytes, 1, one->length, opened) != one->length) fail(file);
    fclose(opened);
}

/* Choose what is sent next. False when no request is whole. */
static int take_request(struct connection *one) {
    char *end = memmem(one->head, one->filled, "\r\n\r\n", 4);
    if (!end) return 0;
    one->unsent = unknown;
    one->unsent_length = sizeof unknown - 1;
    size_t line = (size_t)(end - one->head);
    for (int i = 0; i < known; i++) {
        size_t length = answers[i].path_length;
        if (line > length + 4 && one->head[length + 4] == ' ' && !memcmp(one->head + 4, answers[i].path, length)) {
            one->unsent = answers[i].bytes;
            one->unsent_length = answers[i].length;
            break;
        }
    }
    one->filled -= line + 4;
    memmove(one->head, end + 4, one->filled);
    return 1;
}

/* False when the connection is of no more use. */
static int receive(struct connection *one) {
    if (one->filled == HEAD_BYTES) return 0;
    ssize_t count = read(one->socket, one->head + one->filled, HEAD_BYTES - one->filled);
    if (count > 0) one->filled += (size_t)count;
    return count > 0 || (count < 0 && errno == EAGAIN);
}

static int send_on(struct connection *one) {
    ssize_t count = write(one->socket, one->unsent, one->unsent_length);
    if (count < 0) return errno == EAGAIN;
    one->unsent += count;
    one->unsent_length -= (size_t)count;
    return 1;
}

/* Go on until there is nothing to answer or no room to send into. False when the connection is of no more use. */
static int advance(int epoll, struct connection *one) {
    if (!one->unsent_length && !receive(one)) return 0;
    while (one->unsent_length || take_request(one)) {
        if (!send_on(one)) return 0;
        if (one->unsent_length) break;
    }
    unsigned wanted = one->unsent_length ? EPOLLOUT : EPOLLIN;
    if (wanted == one->watched) return 1;
    one->watched = wanted;
    struct epoll_event event = {.events = wanted, .data.ptr = one};
    return !epoll_ctl(epoll, EPOLL_CTL_MOD, one->socket, &event);
}

static void welcome(int epoll, int listener) {
    int on = 1, accepted;
    while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *one = room(sizeof *one);
        one->socket = accepted;
        one->watched = EPOLLIN;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event)) fail("epoll_ctl");
    }
}

static int listen_and_tell(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, BACKLOG)
        || getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listening");
    printf("{\"\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i + 1 < argc && known < PATHS; i += 2) learn(&answers[known++], argv[i], argv[i + 1]);
    int listener = listen_and_tell(), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) fail("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) {
                welcome(epoll, listener);
            } else if (!advance(epoll, one)) {
                close(one->socket);
                free(one);
            }
        }
    }
}
