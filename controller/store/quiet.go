package store

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quiet hands etcd's warnings and errors on and drops the rest. What etcd calls fatal or panic is still carried out by zap. Once closing
// is true errors are dropped, too: etcd reports each of its listeners when they are closed.
func quiet(log *slog.Logger, closing *atomic.Bool) *zap.Logger {
	return zap.New(&bridge{LevelEnabler: zapcore.WarnLevel, log: log, closing: closing})
}

// bridge is a zapcore.Core that writes to slog.
type bridge struct {
	zapcore.LevelEnabler
	log     *slog.Logger
	closing *atomic.Bool
}

// expected says whether a warning is about a member of this sort and nothing that anybody could change.
func expected(message string) bool {
	switch message {
	case "simple token is not cryptographically signed", "Failed to detect schema version", "failed to update storage version",
		"Running http and grpc server on single port. This is not recommended for production.":
		return true
	}
	return false
}

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{LevelEnabler: b.LevelEnabler, log: b.log.With(attrs(fields)...), closing: b.closing}
}

// Check implements zapcore.Core.
func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && !b.closing.Load() && !expected(e.Message) {
		return ce.AddCore(e, b)
	}
	return ce
}

// Write implements zapcore.Core.
func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	b.log.Log(context.Background(), level, "etcd: "+e.Message, attrs(fields)...)
	return nil
}

// Sync implements zapcore.Core; nothing is buffered.
func (*bridge) Sync() error { return nil }

// maxAttr bounds one value of a log line, in bytes; etcd prints whole requests.
const maxAttr = 256

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		if text, ok := v.(string); ok && len(text) > maxAttr {
			v = text[:maxAttr] + "…"
		}
		out = append(out, slog.Any(k, v))
	}
	return out
}
