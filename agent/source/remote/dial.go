package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// Files are the PEM files of the mutual authentication: the CA that signed the controllers' certificates, and the host's own
// certificate and key.
type Files struct{ CA, Cert, Key string }

// TLS reads the files. Both ends must prove who they are; nothing older than TLS 1.3 is spoken.
func (f Files) TLS() (*tls.Config, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s has no certificate in PEM form", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("cert and key: %w", err)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, nil
}

// DialTLS returns a Dialer that reads the files anew for each session, so that renewed certificates need no restart.
func DialTLS(files Files) Dialer {
	return func(ctx context.Context, endpoint string) (Stream, error) {
		config, err := files.TLS()
		if err != nil {
			return nil, err
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		transport := &http.Transport{
			TLSClientConfig: config, Protocols: protocols, TLSHandshakeTimeout: welcomeTimeout,
			DialContext: (&net.Dialer{Timeout: welcomeTimeout, KeepAlive: 5 * time.Second}).DialContext,
		}
		client := apiv1connect.NewSessionServiceClient(&http.Client{Transport: transport}, "https://"+endpoint,
			connect.WithReadMaxBytes(maxSnapshot), connect.WithGRPC())
		ctx, cancel := context.WithCancel(ctx)
		stream, err := client.Connect(ctx)
		if err != nil {
			cancel()
			return nil, err
		}
		return &tlsStream{stream: stream, cancel: cancel, transport: transport}, nil
	}
}

type tlsStream struct {
	stream    *connect.BidiStreamForClientSimple[apiv1.ConnectRequest, apiv1.ConnectResponse]
	cancel    context.CancelFunc
	transport *http.Transport
}

func (t *tlsStream) Send(m *apiv1.ConnectRequest) error { return t.stream.Send(m) }

func (t *tlsStream) Receive() (*apiv1.ConnectResponse, error) { return t.stream.Receive() }

func (t *tlsStream) Close() {
	t.cancel()
	// Both only free what the cancelled stream holds.
	_ = t.stream.CloseRequest()
	_ = t.stream.CloseResponse()
	t.transport.CloseIdleConnections()
}
