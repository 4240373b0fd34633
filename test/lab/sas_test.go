package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/strongswan/govici/vici"
)

type pair struct {
	key   string
	value any
}

func message(t *testing.T, pairs ...pair) *vici.Message {
	t.Helper()
	m := vici.NewMessage()
	for _, p := range pairs {
		if err := m.Set(p.key, p.value); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestParseSA(t *testing.T) {
	child := func(id, bytes string) *vici.Message {
		return message(t, pair{"name", "net"}, pair{"uniqueid", id}, pair{"state", "INSTALLED"}, pair{"spi-in", "c1"},
			pair{"spi-out", "c2"}, pair{"if-id-in", "00000007"}, pair{"bytes-in", bytes}, pair{"local-ts", []string{"0.0.0.0/0"}})
	}
	m := message(t, pair{"peer", message(t, pair{"uniqueid", "3"}, pair{"version", "2"}, pair{"state", "ESTABLISHED"},
		pair{"initiator", "yes"}, pair{"initiator-spi", "aa"}, pair{"established", "12"},
		pair{"child-sas", message(t, pair{"net-10", child("10", "84")}, pair{"net-9", child("9", "")})})})
	want := []IKESA{{Name: "peer", UniqueID: "3", Version: "2", State: "ESTABLISHED", Initiator: true, InitiatorSPI: "aa", Established: 12,
		Children: []ChildSA{
			{Name: "net", UniqueID: "9", State: "INSTALLED", SPIIn: "c1", SPIOut: "c2", IfIDIn: "00000007", LocalTS: []string{"0.0.0.0/0"}},
			{Name: "net", UniqueID: "10", State: "INSTALLED", SPIIn: "c1", SPIOut: "c2", IfIDIn: "00000007", BytesIn: 84, LocalTS: []string{"0.0.0.0/0"}},
		}}}
	got, err := parseSA(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, bad := range map[string]*vici.Message{
		"a value for a section": message(t, pair{"peer", "x"}),
		"a counter that is no number": message(t, pair{"peer", message(t, pair{"child-sas",
			message(t, pair{"net-1", child("1", "many")})})}),
	} {
		if got, err := parseSA(bad); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}
