package diagnose

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The lines are what two charons 5.9.8 logged when one side's configuration was changed.
func TestConversationExplainsRealLogs(t *testing.T) {
	tests := []struct {
		name    string
		lines   []string
		outcome Outcome
		reason  string
		// says are parts of the message.
		says []string
	}{
		{name: "initiator, other key", lines: []string{
			"initiating IKE_SA bgw-t1[33] to 192.0.2.2", "authentication of '192.0.2.1' (myself) with pre-shared key",
			"received AUTHENTICATION_FAILED notify error"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"peer refused"}},
		{name: "responder, other key", lines: []string{
			"192.0.2.2 is initiating an IKE_SA", "selected peer config 'bgw-t1'",
			"tried 1 shared key for '192.0.2.1' - '192.0.2.2', but MAC mismatched"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"keys differ", "192.0.2.2"}},
		{name: "no key", lines: []string{"no shared key found for '192.0.2.1' - '192.0.2.2'"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"no pre-shared key"}},
		{name: "responder, other identity", lines: []string{
			"192.0.2.2 is initiating an IKE_SA", "looking for peer configs matching 192.0.2.1[192.0.2.1]...192.0.2.2[other.example]",
			"no matching peer config found"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"identified itself as 'other.example'"}},
		{name: "IKEv1 initiator, other identity", lines: []string{"IDir 'other.example' does not match to '192.0.2.2'"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"'other.example'", "expected is '192.0.2.2'"}},
		{name: "IKEv1 responder, other identity", lines: []string{
			"192.0.2.2 is initiating a Main Mode IKE_SA", "looking for pre-shared key peer configs matching 192.0.2.1...192.0.2.2[other.example]",
			"no peer config found"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"'other.example'"}},
		{name: "IKEv1 initiator, other key", lines: []string{
			"invalid HASH_V1 payload length, decryption failed?"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"probably differ"}},
		{name: "IKEv1 responder, other key", lines: []string{
			"192.0.2.2 is initiating a Main Mode IKE_SA", "invalid ID_V1 payload length, decryption failed?"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"probably differ"}},
		{name: "initiator, IKE proposals", lines: []string{"received NO_PROPOSAL_CHOSEN notify error"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"none of our proposals (aes256gcm16-prfsha384-ecp384)"}},
		{name: "responder, IKE proposals", lines: []string{
			"192.0.2.2 is initiating an IKE_SA", "received proposals: IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
			"configured proposals: IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384", "remote host is behind NAT",
			"received proposals unacceptable"},
			outcome: Failed, reason: NoProposalChosen,
			says: []string{"IKE proposal", "peer offers IKE:AES_CBC_128/", "configured is IKE:AES_GCM_16_256/"}},
		{name: "initiator, ESP proposals", lines: []string{"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"ESP proposals (aes256gcm16-ecp384, aes128gcm16-ecp256)"}},
		{name: "responder, ESP proposals", lines: []string{
			"received proposals: ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ",
			"configured proposals: ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ", "no acceptable proposal found"},
			outcome: Failed, reason: NoProposalChosen,
			says: []string{"ESP proposal", "peer offers ESP:AES_CBC_128/", "configured is ESP:AES_GCM_16_256/ECP_384"}},
		{name: "proposals of another SA are not quoted", lines: []string{
			"received proposals: IKE:AES_CBC_128/X", "configured proposals: IKE:AES_CBC_256/X", "no acceptable proposal found"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"no common ESP proposal: no acceptable"}},
		{name: "IKEv1 initiator, proposals", lines: []string{"received NO_PROPOSAL_CHOSEN error notify"},
			outcome: Failed, reason: NoProposalChosen},
		{name: "IKEv1 responder, IKE proposals", lines: []string{
			"received proposals: IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
			"configured proposals: IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", "no proposal found"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"MODP_1024", "MODP_2048"}},
		{name: "IKEv1 responder, ESP proposals", lines: []string{
			"no matching proposal found, sending NO_PROPOSAL_CHOSEN"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"ESP"}},
		{name: "other IKE version", lines: []string{"no IKE config found for 192.0.2.2...192.0.2.1, sending NO_PROPOSAL_CHOSEN"},
			outcome: Failed, reason: NoProposalChosen, says: []string{"version"}},
		{name: "initiator, selectors", lines: []string{"received TS_UNACCEPTABLE notify, no CHILD_SA built"},
			outcome: Failed, reason: TrafficSelectorsUnacceptable},
		{name: "responder, selectors", lines: []string{"traffic selectors 10.1.0.0/16 === 10.9.0.0/16 unacceptable"},
			outcome: Failed, reason: TrafficSelectorsUnacceptable, says: []string{"10.9.0.0/16"}},
		{name: "IKEv1 initiator, selectors", lines: []string{"received INVALID_ID_INFORMATION error notify"},
			outcome: Failed, reason: TrafficSelectorsUnacceptable},
		{name: "kernel", lines: []string{"unable to install IPsec policies (SPD) in kernel"},
			outcome: Failed, reason: ChildSAFailed, says: []string{"kernel"}},
		{name: "child", lines: []string{"failed to establish CHILD_SA, keeping IKE_SA"}, outcome: Failed, reason: ChildSAFailed},
		{name: "other notify", lines: []string{"received INTERNAL_ADDRESS_FAILURE notify, no CHILD_SA built"},
			outcome: Failed, reason: ChildSAFailed, says: []string{"INTERNAL_ADDRESS_FAILURE"}},
		{name: "silence", lines: []string{"retransmit 1 of request with message ID 0", "giving up after 5 retransmits"},
			outcome: Unanswered, reason: PeerUnreachable},
		{name: "peer closes IKE_SA", lines: []string{"received DELETE for IKE_SA bgw-t1[64]"}, outcome: Closed, reason: ClosedByPeer},
		{name: "peer closes CHILD_SA", lines: []string{"received DELETE for ESP CHILD_SA with SPI 9a3a16ae"}, outcome: Closed, reason: ClosedByPeer},
		{name: "success", lines: []string{"IKE_SA bgw-t1[63] established between 192.0.2.1[192.0.2.1]...192.0.2.2[192.0.2.2]",
			"CHILD_SA bgw-t1{27} established with SPIs 76e442c2_i 49d88bec_o and TS 10.1.0.0/16 === 10.2.0.0/16"}, outcome: Nothing},
		{name: "IKEv2 initiator, other identity", lines: []string{"constraint check failed: identity '192.0.2.2' required"},
			outcome: Failed, reason: AuthenticationFailed, says: []string{"192.0.2.2"}},
		{name: "another connection is tried", lines: []string{"no matching proposal found, trying alternative config"}, outcome: Nothing},
		{name: "peer closes CHILD_SA after an answer of its own", lines: []string{"parsed CREATE_CHILD_SA response 4 [ N(NO_PROP) ]",
			"parsed INFORMATIONAL request 0 [ D ]", "received DELETE for ESP CHILD_SA with SPI 9a3a16ae"}, outcome: Closed, reason: ClosedByPeer},
		{name: "peer answers our DELETE of an SA that has expired", lines: []string{
			"closing expired CHILD_SA bgw-t1{1} with SPIs c272b870_i c8367027_o and TS 0.0.0.0/0 === 0.0.0.0/0", "sending DELETE for ESP CHILD_SA with SPI c272b870",
			"parsed INFORMATIONAL response 7 [ D ]", "received DELETE for ESP CHILD_SA with SPI c8367027"}, outcome: Nothing},
		{name: "foreign DELETE", lines: []string{"received DELETE for different IKE_SA, ignored"}, outcome: Nothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Conversation{IKEOffer: []string{"aes256gcm16-prfsha384-ecp384"}, ESPOffer: []string{"aes256gcm16-ecp384", "aes128gcm16-ecp256"}}
			var outcome Outcome
			var f Failure
			for _, line := range tt.lines {
				if outcome != Nothing {
					t.Fatalf("outcome %d before the last line", outcome)
				}
				outcome, f = c.Observe(line)
			}
			if outcome != tt.outcome || f.Reason != tt.reason {
				t.Errorf("outcome %d %q, want %d %q", outcome, f.Reason, tt.outcome, tt.reason)
			}
			for _, part := range tt.says {
				if !strings.Contains(f.Message, part) {
					t.Errorf("message %q does not say %q", f.Message, part)
				}
			}
		})
	}
}

func TestConversationLearnsAddresses(t *testing.T) {
	tests := []struct {
		line string
		want Conversation
	}{
		{"192.0.2.2 is initiating an IKE_SA", Conversation{PeerStarted: true, Remote: netip.MustParseAddr("192.0.2.2")}},
		{"2001:db8::2 is initiating a Aggressive Mode IKE_SA", Conversation{PeerStarted: true, Remote: netip.MustParseAddr("2001:db8::2")}},
		{"looking for peer configs matching 192.0.2.1[gw]...192.0.2.2[cpe]", Conversation{PeerStarted: true,
			Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("192.0.2.2")}},
		{"looking for peer configs matching 192.0.2.1[%any]...192.0.2.2[C=CH, O=x]", Conversation{PeerStarted: true,
			Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("192.0.2.2")}},
		{"initiating IKE_SA bgw-t1[33] to 192.0.2.2", Conversation{}},
	}
	for _, tt := range tests {
		var got Conversation
		got.Observe(tt.line)
		got.peerID = ""
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Conversation{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestAlert(t *testing.T) {
	tests := map[string]string{
		"local-auth-failed": AuthenticationFailed, "peer-auth-failed": AuthenticationFailed,
		"proposal-mismatch-ike": NoProposalChosen, "proposal-mismatch-child": NoProposalChosen,
		"ts-mismatch": TrafficSelectorsUnacceptable, "retransmit-send-timeout": PeerUnreachable,
		"keep-on-child-sa-failure": ChildSAFailed, "retransmit-send": "", "ts-narrowed": "", "unheard-of": "",
	}
	for kind, want := range tests {
		outcome, f := Alert(kind)
		if f.Reason != want || (want == "") != (outcome == Nothing) {
			t.Errorf("Alert(%q) = %d %q, want reason %q", kind, outcome, f.Reason, want)
		}
	}
}

func FuzzObserve(f *testing.F) {
	for _, p := range phrases() {
		f.Add(p.prefix + p.suffix)
	}
	f.Add("looking for peer configs matching 192.0.2.1[gw]...192.0.2.2[cpe]")
	f.Add("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built")
	f.Fuzz(func(t *testing.T, line string) {
		var c Conversation
		outcome, failure := c.Observe(line)
		if (outcome == Nothing) != (failure == Failure{}) {
			t.Errorf("outcome %d with %+v", outcome, failure)
		}
		if outcome != Nothing && (failure.Reason == "" || failure.Message == "") {
			t.Errorf("outcome %d without reason or message: %+v", outcome, failure)
		}
		if c.Failed != (outcome == Failed) {
			t.Errorf("Failed = %v after outcome %d", c.Failed, outcome)
		}
	})
}
