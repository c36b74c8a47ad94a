/* A server that does nothing: each whole request gets the same answer, by one thread that waits for epoll, as ours does.
   Three system calls for a request, and nothing else: what no server on this machine can pass with this client.

       constant PORT FILE      FILE has the answer from its status line on */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 1024, BUFFER = 1 << 16 };

static char answer[BUFFER], buffer[BUFFER];
static long missing[CLIENTS]; /* bytes of the body that are still to come, by descriptor */

static void must(int well, const char *what)
{
    if (!well) {
        perror(what);
        exit(1);
    }
}

static long body_behind(ssize_t got)
{
    char *end = memmem(buffer, got, "\r\n\r\n", 4), *length;
    must(end != NULL, "a head in parts");
    *end = 0;
    length = strcasestr(buffer, "\r\ncontent-length:");
    return (length ? atol(length + 17) : 0) - (got - (end + 4 - buffer));
}

int main(int count, char **words)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN}, events[64];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), waiting = epoll_create1(0);
    FILE *file;
    size_t size;

    must(count == 3, "constant PORT FILE");
    file = fopen(words[2], "rb");
    must(file != NULL, words[2]);
    size = fread(answer, 1, sizeof answer, file);
    place.sin_port = htons(atoi(words[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    must(bind(listener, (struct sockaddr *)&place, sizeof place) == 0 && listen(listener, CLIENTS) == 0, "listen");
    event.data.fd = listener;
    epoll_ctl(waiting, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(waiting, events, 64, -1);
        for (int number = 0; number < ready; number++) {
            int client = events[number].data.fd;
            ssize_t got;
            if (client == listener) {
                client = accept(listener, NULL, NULL);
                must(client >= 0 && client < CLIENTS, "accept");
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                missing[client] = 0;
                event.data.fd = client;
                epoll_ctl(waiting, EPOLL_CTL_ADD, client, &event);
                continue;
            }
            got = recv(client, buffer, sizeof buffer - 1, 0);
            if (got <= 0) {
                close(client);
                continue;
            }
            buffer[got] = 0;
            missing[client] = missing[client] ? missing[client] - got : body_behind(got);
            if (missing[client] == 0)
                send(client, answer, size, MSG_NOSIGNAL);
        }
    }
}
