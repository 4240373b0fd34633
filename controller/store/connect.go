package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/bordergw/bordergw/internal/secret"
)

// ConnectOptions says how to reach an etcd.
type ConnectOptions struct {
	// Endpoints are unix:///PATH or https://HOST:PORT.
	Endpoints []string
	// TLS for https endpoints; nil for none.
	TLS      *tls.Config
	User     string
	Password secret.Secret
	Log      *slog.Logger
}

const (
	dialTimeout = 5 * time.Second
	// keepAlive notices a member that is gone although its connection stands; together they stay below a host's lease.
	keepAlive        = 5 * time.Second
	keepAliveTimeout = 3 * time.Second
	// requestTimeout bounds one exchange with etcd; a member that was lost is replaced by another within it.
	requestTimeout = 10 * time.Second
	// commitTimeout bounds a transaction of up to smallCommit writes; larger ones, which an Apply makes, have the whole requestTimeout. What a member had sent to a leader that died is never answered, and etcd gives up on it only after
	// 7 s (etcd, server/config: ReqTimeout), while elections take less than 2.
	commitTimeout = 3 * time.Second
	smallCommit   = 64
)

// Connect returns a client. Whether the cluster can be reached is seen by Open.
func Connect(opts ConnectOptions) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: opts.Endpoints, TLS: opts.TLS, Username: opts.User, Password: opts.Password.Reveal(),
		DialTimeout: dialTimeout, DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: keepAliveTimeout,
		MaxCallSendMsgSize: embeddedRequest, MaxCallRecvMsgSize: 1 << 30,
		Logger: quiet(opts.Log, &atomic.Bool{}),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return client, nil
}

// Etcd is what a controller keeps its records in: a cluster, or the member inside this process.
type Etcd struct {
	Client *clientv3.Client
	member *Embedded
	log    *slog.Logger
}

// OpenEtcd connects to the endpoints or, without any, starts an embedded member in a folder.
func OpenEtcd(ctx context.Context, dir string, opts ConnectOptions) (*Etcd, error) {
	e := &Etcd{log: opts.Log}
	if len(opts.Endpoints) == 0 {
		member, err := StartEmbedded(ctx, EmbeddedOptions{Dir: dir, Log: opts.Log})
		if err != nil {
			return nil, err
		}
		e.member, opts.Endpoints = member, []string{member.Endpoint()}
	}
	client, err := Connect(opts)
	if err != nil {
		if e.member != nil {
			e.member.Close()
		}
		return nil, err
	}
	e.Client = client
	return e, nil
}

// Failed delivers an error when the embedded member ends by itself; nothing ever for a cluster.
func (e *Etcd) Failed() <-chan error {
	if e.member == nil {
		return nil
	}
	return e.member.Failed()
}

// Close ends the connection and the embedded member.
func (e *Etcd) Close() {
	if err := e.Client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		e.log.Warn("etcd client", "error", err)
	}
	if e.member != nil {
		e.member.Close()
	}
}
