package charon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// Capabilities are what a running charon can do. It is asked for them after each connect: the same version has ML-KEM or not,
// depending on the plugins that were built and loaded.
type Capabilities struct {
	// Version is charon's, such as "5.9.8".
	Version string
	// MLKEM says that a plugin brings ML-KEM-768 (FIPS 203) and that charon does additional key exchanges (RFC 9370).
	MLKEM bool
	// Alerts says that charon tells of failures with alert events (6.0.3 and newer); else its log tells.
	Alerts bool
}

// capabilities are Capabilities with the version in a form that can be compared.
type capabilities struct {
	version       version
	mlkem, alerts bool
}

func (c capabilities) public() Capabilities {
	return Capabilities{Version: c.version.text, MLKEM: c.mlkem, Alerts: c.alerts}
}

// additionalKE says whether charon knows additional key exchanges at all.
func (c capabilities) additionalKE() bool { return c.version.atLeast(6, 0, 0) }

// maybeWithoutIKEv1 says whether charon has IKEv1 only when it was built on purpose with it.
func (c capabilities) maybeWithoutIKEv1() bool { return c.version.atLeast(6, 1, 0) }

// caller runs one command.
type caller func(ctx context.Context, command string, in *vici.Message) (*vici.Message, error)

// askCapabilities asks for everything but alerts, which show when their event is registered for.
func askCapabilities(ctx context.Context, call caller) (capabilities, error) {
	reply, err := call(ctx, "version", nil)
	if err != nil {
		return capabilities{}, err
	}
	var c capabilities
	if c.version, err = parseVersion(reply.Get("version")); err != nil {
		return capabilities{}, err
	}
	if !c.additionalKE() {
		return c, nil
	}
	reply, err = call(ctx, "get-algorithms", nil)
	if errors.Is(err, vici.ErrUnknown) {
		return c, nil
	}
	if err != nil {
		return capabilities{}, err
	}
	_, c.mlkem = reply.Section("ke").Lookup("ML_KEM_768")
	return c, nil
}

// Ask connects, asks a charon what it can do, and disconnects; nothing is changed. Only Socket and Dial of the options are used, and
// ctx bounds it. Alerts stays unknown, which is false.
func Ask(ctx context.Context, opts Options) (Capabilities, error) {
	conn, err := opts.withDefaults().Dial(ctx)
	if err != nil {
		return Capabilities{}, fmt.Errorf("ask charon: %w", err)
	}
	client := vici.NewClient(conn, func(vici.Event) {})
	defer client.Close()
	c, err := askCapabilities(ctx, client.Call)
	if err != nil {
		return Capabilities{}, fmt.Errorf("ask charon: %w", err)
	}
	return c.public(), nil
}

// Capabilities returns those of the charon that was connected last; false before the first connection.
func (d *Driver) Capabilities() (Capabilities, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.can.public(), d.can.version.text != ""
}

// Version is charon's version, such as "5.9.8"; empty before the first connection.
func (d *Driver) Version() string {
	c, _ := d.Capabilities()
	return c.Version
}

// knownProposals leaves out proposals with key exchanges that this charon cannot do. It would take them, offer them and then fail.
func knownProposals(proposals []string, can capabilities) []string {
	var out []string
	for _, p := range proposals {
		if additional, mlkem := keyExchanges(p); (!additional || can.additionalKE()) && (!mlkem || can.mlkem) {
			out = append(out, p)
		}
	}
	return out
}

// keyExchanges says whether a proposal has keN_ keywords (RFC 9370), and whether it has ML-KEM.
func keyExchanges(proposal string) (additional, mlkem bool) {
	for word := range strings.SplitSeq(proposal, "-") {
		if len(word) > 4 && word[:2] == "ke" && word[2] >= '1' && word[2] <= '7' && word[3] == '_' {
			additional, word = true, word[4:]
		}
		mlkem = mlkem || strings.HasPrefix(word, "mlkem")
	}
	return additional, mlkem
}

// requireProposals returns an error that says what charon lacks when nothing is left to offer.
func requireProposals(t Tunnel, can capabilities) error {
	for _, list := range []struct {
		field     string
		proposals []string
	}{{"IKE", t.IKEProposals}, {"ESP", t.ESPProposals}} {
		if len(knownProposals(list.proposals, can)) > 0 {
			continue
		}
		lack := "additional key exchanges (RFC 9370)"
		if can.additionalKE() {
			lack = "ML-KEM: no plugin that brings it is loaded"
		}
		return fmt.Errorf("%s proposals: all need what charon %s does not have, %s", list.field, can.version.text, lack)
	}
	return nil
}
