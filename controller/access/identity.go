// Package access tells who is asking and what they may do.
//
// The role is in the certificate, as a SPIFFE ID in its URI name: spiffe://TRUST-DOMAIN/ROLE/NAME. People may use a bearer token instead of
// a certificate of their own.
package access

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"connectrpc.com/connect"
)

// Role is what somebody may do.
type Role string

// Roles.
const (
	// Agent speaks for the one host that its name says.
	Agent Role = "agent"
	// Operator may read and write every resource.
	Operator Role = "operator"
	// Viewer may read every resource; secrets are shown to nobody.
	Viewer Role = "viewer"
	// Controller is another controller. It has no rights over this API: controllers meet in etcd.
	Controller Role = "controller"
)

// Identity is who is asking.
type Identity struct {
	Role Role
	Name string
}

// String returns "operator/alice".
func (i Identity) String() string { return string(i.Role) + "/" + i.Name }

// URI returns the name that a certificate of this identity has.
func (i Identity) URI(trustDomain string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/" + string(i.Role) + "/" + i.Name}
}

// FromCertificate reads the identity of a certificate whose chain was verified: it has exactly one URI name.
func FromCertificate(c *x509.Certificate, trustDomain string) (Identity, error) {
	if len(c.URIs) != 1 {
		return Identity{}, fmt.Errorf("the certificate must have one URI name such as spiffe://%s/operator/NAME, it has %d", trustDomain, len(c.URIs))
	}
	u := c.URIs[0]
	role, name, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	known := []Role{Agent, Operator, Viewer, Controller}
	switch {
	case u.Scheme != "spiffe" || u.Host != trustDomain || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return Identity{}, fmt.Errorf("the certificate's name %s is not in spiffe://%s", u, trustDomain)
	case !ok || !slices.Contains(known, Role(role)) || !validName(name):
		return Identity{}, fmt.Errorf("the certificate's name %s must end in /agent/HOST, /operator/NAME or /viewer/NAME", u)
	}
	return Identity{Role(role), name}, nil
}

func validName(name string) bool {
	return name != "" && len(name) <= 253 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

type contextKey struct{}

type caller struct {
	identity Identity
	peer     string
	err      error
}

// From returns who asks, and from where.
func From(ctx context.Context) (id Identity, peer string) {
	c, _ := ctx.Value(contextKey{}).(caller)
	return c.identity, c.peer
}

// With returns a context in which From finds an identity, as requests that Authenticate has passed on have.
func With(ctx context.Context, id Identity, peer string) context.Context {
	return context.WithValue(ctx, contextKey{}, caller{identity: id, peer: peer})
}

// Authenticate finds out who asks before a handler runs. Who cannot be told is refused by the interceptor of Rules.
func Authenticate(next http.Handler, trustDomain string, tokens *Tokens) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller{peer: r.RemoteAddr}
		c.identity, c.err = identify(r, trustDomain, tokens)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, c)))
	})
}

func identify(r *http.Request, trustDomain string, tokens *Tokens) (Identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		token, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return Identity{}, errors.New("only bearer tokens are known")
		}
		return tokens.Lookup(token)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Identity{}, errors.New("a client certificate or a bearer token is needed")
	}
	return FromCertificate(r.TLS.VerifiedChains[0][0], trustDomain)
}

// Rules says which roles may call a procedure, such as "/bordergw.v1.ResourceService/Apply". What they do not know is allowed to nobody.
type Rules func(procedure string) []Role

// Interceptor refuses calls that the rules do not allow.
func Interceptor(rules Rules) connect.Interceptor { return interceptor{rules} }

type interceptor struct{ rules Rules }

func (i interceptor) check(ctx context.Context, procedure string) error {
	c, ok := ctx.Value(contextKey{}).(caller)
	switch {
	case !ok || c.err != nil || c.identity.Role == "":
		if c.err == nil {
			c.err = errors.New("who asks is not known")
		}
		return connect.NewError(connect.CodeUnauthenticated, c.err)
	case !slices.Contains(i.rules(procedure), c.identity.Role):
		return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("%s may not call %s", c.identity, strings.TrimPrefix(procedure, "/")))
	}
	return nil
}

// WrapUnary implements connect.Interceptor.
func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := i.check(ctx, req.Spec().Procedure); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingClient implements connect.Interceptor; clients are not checked.
func (interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := i.check(ctx, conn.Spec().Procedure); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
