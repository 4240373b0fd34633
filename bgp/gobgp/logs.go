package gobgp

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// logHandler stands between a GoBGP server and the agent's log. GoBGP reports some failures of a session, such as a refused
// connection or an OPEN it does not accept, to its log only; these become the session's message. The rest goes on, its Info as
// Debug: what an operator must see is reported by the sessions.
type logHandler struct {
	next slog.Handler
	note func(addr netip.Addr, message string)
	key  string // the peer's address, from the logger's attributes
}

// Enabled takes everything in, because dial errors are logged at Debug.
func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if prefix, ok := noteworthy(r.Message); ok {
		h.take(r, prefix)
	}
	level := r.Level
	if level == slog.LevelInfo {
		level = slog.LevelDebug
	}
	if !h.next.Enabled(ctx, level) {
		return nil
	}
	// Server-wide errors at shutdown are of no interest: stopping twice is how GoBGP is stopped completely.
	if r.Message == "failed to stop BGP server" {
		return nil
	}
	out := slog.NewRecord(r.Time, level, "gobgp: "+r.Message, 0)
	r.Attrs(func(a slog.Attr) bool { out.AddAttrs(a); return true })
	return h.next.Handle(ctx, out)
}

// noteworthy returns what the session's message begins with when GoBGP has logged msg.
func noteworthy(msg string) (prefix string, ok bool) {
	switch msg {
	case "failed to connect", "failed to resolve local address", "outgoing connection IO error":
		return "", true
	case "failed to set md5":
		return "TCP MD5: ", true
	case "sent notification":
		return "closed by us: ", true
	case "received notification":
		return "closed by the peer: ", true
	}
	return "", false
}

func (h *logHandler) take(r slog.Record, prefix string) {
	key, text := h.key, ""
	var code, subcode int64
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "Key":
			key = a.Value.String()
		case "Error", "Err", "reason":
			text = a.Value.String()
		case "Code":
			code = a.Value.Int64()
		case "Subcode":
			subcode = a.Value.Int64()
		}
		return true
	})
	addr, err := netip.ParseAddr(key)
	if err != nil {
		return
	}
	if code != 0 {
		text = gobgpbgp.NewNotificationErrorCode(uint8(code), uint8(subcode)).String()
	}
	if text != "" {
		h.note(addr, prefix+explain(text))
	}
}

// explain adds what a person may not think of: packets whose TCP MD5 signature is wrong or missing are dropped without a word
// (RFC 2385 §2).
func explain(text string) string {
	if strings.Contains(text, "i/o timeout") {
		return text + ": no answer, as also when the two ends' BGP passwords differ or only one end has one"
	}
	return text
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		if a.Key == "Key" {
			c.key = a.Value.String()
		}
	}
	c.next = h.next.WithAttrs(slices.Clone(attrs))
	return &c
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.next = h.next.WithGroup(name)
	return &c
}
