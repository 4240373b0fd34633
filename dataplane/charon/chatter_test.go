package charon

import (
	"slices"
	"testing"
)

func TestNegotiationLogHasNoKeepalives(t *testing.T) {
	const in, out = "received packet: from 203.0.113.1[500] to 198.51.100.1[500] (57 bytes)", "sending packet: from 198.51.100.1[500] to 203.0.113.1[500] (57 bytes)"
	for name, test := range map[string]struct{ lines, want []string }{
		"we ask":        {lines: []string{"sending DPD request", "generating INFORMATIONAL request 4 [ ]", out, in, "parsed INFORMATIONAL response 4 [ ]"}},
		"the peer asks": {lines: []string{in, "parsed INFORMATIONAL request 0 [ ]", "generating INFORMATIONAL response 0 [ ]", out}},
		"both at once": {lines: []string{"sending DPD request", "generating INFORMATIONAL request 4 [ ]", in, out, "parsed INFORMATIONAL request 0 [ ]",
			"generating INFORMATIONAL response 0 [ ]", out, in, "parsed INFORMATIONAL response 4 [ ]"}},
		"IKEv1": {lines: []string{"sending DPD request", "generating INFORMATIONAL_V1 request 3021718493 [ HASH N(DPD) ]", out, in,
			"parsed INFORMATIONAL_V1 request 1 [ HASH N(DPD_ACK) ]"}},
		"no answer": {
			lines: []string{"sending DPD request", "generating INFORMATIONAL request 4 [ ]", out, "retransmit 1 of request with message ID 4", out},
			want:  []string{"retransmit 1 of request with message ID 4", out},
		},
		"another exchange": {
			lines: []string{in, "parsed INFORMATIONAL request 2 [ D ]", "received DELETE for IKE_SA bgw-a[1]", "generating INFORMATIONAL response 2 [ ]", out, "IKE_SA deleted"},
			want:  []string{in, "parsed INFORMATIONAL request 2 [ D ]", "received DELETE for IKE_SA bgw-a[1]", "IKE_SA deleted"},
		},
		"IKE_AUTH": {
			lines: []string{"generating IKE_AUTH request 1 [ IDi AUTH ]", out, in, in, "parsed IKE_AUTH response 1 [ IDr AUTH ]"},
			want:  []string{"generating IKE_AUTH request 1 [ IDi AUTH ]", out, in, in, "parsed IKE_AUTH response 1 [ IDr AUTH ]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c chatter
			var got []string
			for _, line := range test.lines {
				got = append(got, c.tell(line)...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}
