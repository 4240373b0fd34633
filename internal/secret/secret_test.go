package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bordergw/bordergw/internal/secret"
)

const clear = "correct-horse-battery"

type holder struct {
	Name string
	PSK  secret.Secret
	Ptr  *secret.Secret
	List []secret.Secret
	Map  map[string]secret.Secret
}

func held() holder {
	s := secret.New(clear)
	return holder{Name: "t1", PSK: s, Ptr: &s, List: []secret.Secret{s}, Map: map[string]secret.Secret{"k": s}}
}

func TestNoFormatterPrintsTheValue(t *testing.T) {
	h := held()
	var outputs []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		outputs = append(outputs, fmt.Sprintf(verb, h), fmt.Sprintf(verb, h.PSK), fmt.Sprintf(verb, *h.Ptr))
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("loaded", "psk", h.PSK, "all", h)
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	outputs = append(outputs, log.String(), string(j), string(y), errors.Join(fmt.Errorf("psk %v", h.PSK)).Error())
	hex := fmt.Sprintf("%x", clear)
	for _, out := range outputs {
		if strings.Contains(out, clear) || strings.Contains(strings.ToLower(out), hex) {
			t.Errorf("the value is visible in %q", out)
		}
	}
	for _, out := range []string{string(j), string(y), log.String()} {
		if !strings.Contains(out, "[redacted]") {
			t.Errorf("no mark that a value was redacted in %q", out)
		}
	}
}

func TestRevealAndEqual(t *testing.T) {
	s := secret.New(clear)
	if got := s.Reveal(); got != clear {
		t.Errorf("Reveal() = %q", got)
	}
	if !s.IsSet() || (secret.Secret{}).IsSet() {
		t.Error("IsSet is true exactly for a held value")
	}
	if !s.Equal(secret.New(clear)) || s.Equal(secret.New("other")) || s.Equal(secret.Secret{}) {
		t.Error("Equal compares values")
	}
}
