/* A server without a model: sends bytes that were made beforehand, at a pace, and needs little of one core for it.
 *
 * `server THINK_NS INTERVAL_NS < pieces`: a line of lengths, then the pieces themselves. The first is the whole answer
 * to a request without `"stream": true`; the others are sent one by one where there is. The first piece of an answer is
 * due THINK_NS after the request, each other INTERVAL_NS after the one before was due. Prints its port, then serves. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PIECES = 1024, REQUEST_BYTES = 8192, EVENTS = 512 };

typedef struct Connection {
    int fd;
    int piece;     /* the next one to be sent */
    int is_closed; /* by the client, while a piece was due */
    int64_t due_ns;
    struct Connection *next; /* in its queue; itself while it is in none */
    size_t filled;
    char request[REQUEST_BYTES + 1];
} Connection;

/* Both queues are in the order of their times without sorting: what is added is later than all before by one constant. */
typedef struct {
    Connection *head, *tail;
    int64_t after_ns;
} Queue;

static struct { char *bytes; size_t length; } pieces[MOST_PIECES];
static int piece_count, epoll;
static Queue first, later;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void enqueue(Queue *queue, Connection *connection, int64_t since_ns) {
    connection->due_ns = since_ns + queue->after_ns;
    connection->next = NULL;
    *(queue->head ? &queue->tail->next : &queue->head) = connection;
    queue->tail = connection;
}

static Queue *earliest(void) {
    if (!first.head || !later.head) return first.head ? &first : &later;
    return first.head->due_ns <= later.head->due_ns ? &first : &later;
}

static void finish(Connection *connection) {
    close(connection->fd);
    free(connection);
}

/* An answer is far smaller than a socket's buffer, so a short write means that the client is gone. */
static void send_piece(Connection *connection) {
    int piece = connection->piece++;
    connection->next = connection; /* in no queue */
    ssize_t sent = send(connection->fd, pieces[piece].bytes, pieces[piece].length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (connection->is_closed || sent != (ssize_t)pieces[piece].length)
        finish(connection);
    else if (piece && connection->piece < piece_count)
        enqueue(&later, connection, connection->due_ns);
}

static void send_due(int64_t until_ns) {
    for (Queue *queue = earliest(); queue->head && queue->head->due_ns <= until_ns; queue = earliest()) {
        Connection *connection = queue->head;
        queue->head = connection->next;
        send_piece(connection);
    }
}

static int is_whole(const Connection *connection) {
    const char *end = strstr(connection->request, "\r\n\r\n");
    const char *length = strcasestr(connection->request, "content-length:");
    size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    return end && connection->filled >= (size_t)(end + 4 - connection->request) + body;
}

static void answer(Connection *connection) {
    const char *request = connection->request;
    connection->piece = strstr(request, "\"stream\":true") || strstr(request, "\"stream\": true");
    connection->filled = 0;
    enqueue(&first, connection, now_ns());
}

static void receive(Connection *connection) {
    char *place = connection->request + connection->filled;
    ssize_t count = recv(connection->fd, place, REQUEST_BYTES - connection->filled, MSG_DONTWAIT);
    if (count > 0) {
        place[count] = 0;
        connection->filled += count;
        if (is_whole(connection)) answer(connection);
    } else if (count == 0 || errno != EAGAIN) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, connection->fd, NULL);
        connection->is_closed = 1;
        if (connection->next == connection) finish(connection);
    }
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Connection *connection = calloc(1, sizeof *connection);
        if (!connection) err(1, "memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->fd = fd;
        connection->next = connection;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void read_pieces(void) {
    char line[16 * MOST_PIECES], *rest = line;
    if (!fgets(line, sizeof line, stdin)) errx(2, "no pieces on stdin");
    while (strspn(rest, " \n") < strlen(rest) && piece_count < MOST_PIECES)
        pieces[piece_count++].length = strtoul(rest, &rest, 10);
    for (int piece = 0; piece < piece_count; piece++) {
        pieces[piece].bytes = malloc(pieces[piece].length);
        if (fread(pieces[piece].bytes, 1, pieces[piece].length, stdin) != pieces[piece].length)
            errx(2, "piece %d is cut short", piece);
    }
}

static int listen_somewhere(void) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&place, size) || listen(listener, 4096)) err(1, "listen");
    getsockname(listener, (struct sockaddr *)&place, &size);
    printf("%d\n", ntohs(place.sin_port));
    fflush(stdout);
    return listener;
}

static void serve(int listener) {
    struct epoll_event events[EVENTS];
    for (;;) {
        send_due(now_ns());
        Connection *next = earliest()->head;
        int64_t left_ns = next ? next->due_ns - now_ns() : 1000000000;
        if (left_ns < 0) left_ns = 0;
        struct timespec wait = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
        int count = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr)
                receive(events[at].data.ptr);
            else
                accept_all(listener);
        }
    }
}

int main(int count, char **words) {
    if (count != 3) errx(2, "THINK_NS INTERVAL_NS < pieces");
    first.after_ns = atoll(words[1]);
    later.after_ns = atoll(words[2]);
    read_pieces();
    int listener = listen_somewhere();
    struct epoll_event event = {.events = EPOLLIN};
    epoll = epoll_create1(0);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) err(1, "epoll");
    serve(listener);
}
