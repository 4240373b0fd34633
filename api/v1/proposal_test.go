package apiv1_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestProposals(t *testing.T) {
	for _, tc := range []struct {
		text    string
		version uint32
		// Errors; empty where the proposal is accepted.
		ike, esp string
	}{
		{"aes256gcm16-prfsha384-ecp384", 2, "", "prfsha384 is for IKE only"},
		{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", 2, "", "prfsha384 is for IKE only"},
		{"aes256gcm16-ecp384", 2, "has no pseudo-random function: add one such as prfsha256", ""},
		{"aes256gcm16-sha384-ecp384", 2, "", ""},
		{"aes256gcm16", 2, "has no Diffie-Hellman group", ""},
		{"aes128-sha1-modp1024", 1, "", ""},
		{"3des-md5-modp768", 2, "", ""},
		{"aes128-aes256-sha256-sha512-modp2048-ecp256", 2, "", ""},
		{"aes128-aes256-sha256-modp2048", 1, "aes128 and aes256 are of one kind: IKEv1 keeps one of each, write one proposal per combination",
			"aes128 and aes256 are of one kind: IKEv1 keeps one of each, write one proposal per combination"},
		{"aes256gcm16-prfsha256-modp2048", 1, "aes256gcm16: combined-mode ciphers need IKEv2", "prfsha256 is for IKE only"},
		{"aes256gcm16-modp2048", 1, "has no pseudo-random function: add one such as prfsha256", ""},
		{"aes256-sha256-modp2048-ke1_mlkem768", 1, "additional key exchanges need IKEv2", "additional key exchanges need IKEv2"},
		{"aes256-sha256", 2, "has no Diffie-Hellman group", ""},
		{"aes256-modp2048", 2, "has no integrity algorithm", "has no integrity algorithm"},
		{"aes256-prfsha256-modp2048", 2, "has no integrity algorithm", "prfsha256 is for IKE only"},
		{"sha256-modp2048", 2, "has no encryption algorithm", "has no encryption algorithm"},
		{"aes256-aes256gcm16-sha256-modp2048", 2, "mixes classic and combined-mode ciphers: write two proposals", "mixes classic and combined-mode ciphers: write two proposals"},
		{"aes256-sha256-modp2048-none", 2, "none is for ESP only: IKE needs a group", ""},
		{"aes256-sha256-none", 2, "has no Diffie-Hellman group", ""},
		{"aes256-sha256-x25519-esn-noesn", 2, "esn is for ESP only", ""},
		{"aes256-sha256-ke1_mlkem768", 2, "has no Diffie-Hellman group", "has an additional key exchange but no Diffie-Hellman group"},
		{"aes256-sha256-x25519-ke1_mlkem768-ke1_none-ke7_ecp384", 2, "", ""},
		{"aes256-sha256-x25519-ke8_ecp384", 2, `"ke8_ecp384" is not an algorithm`, `"ke8_ecp384" is not an algorithm`},
		{"aes256-sha256-x25519-ke1_aes256", 2, `"ke1_aes256" is not an additional key exchange`, `"ke1_aes256" is not an additional key exchange`},
		{"aes256-sha256-mlkem768", 2, "mlkem768 is accepted only beside a classical group, as ke1_mlkem768", "mlkem768 is accepted only beside a classical group, as ke1_mlkem768"},
		{"null-sha256-modp2048", 2, "null does not encrypt", "null does not encrypt"},
		{"des-sha256-modp2048", 2, "des protects nothing", "des protects nothing"},
		{"default", 2, "default depends on charon's version: name the algorithms", "default depends on charon's version: name the algorithms"},
		{"AES256-SHA256-MODP2048", 2, `"AES256" is not an algorithm`, `"AES256" is not an algorithm`},
		{"aes256-sha256-modp2048!", 2, `"modp2048!" is not an algorithm`, `"modp2048!" is not an algorithm`},
		{"aes256-sha256-sha256-modp2048", 2, `"sha256" is there twice`, `"sha256" is there twice`},
		{"aes256--modp2048", 2, `"" is not an algorithm`, `"" is not an algorithm`},
		{"", 2, "is empty", "is empty"},
		{strings.Repeat("a", 257), 2, "is longer than 256 characters", "is longer than 256 characters"},
	} {
		_, err := apiv1.ParseIKEProposal(tc.text, tc.version)
		if got := message(err); got != tc.ike {
			t.Errorf("IKEv%d %s: %q, want %q", tc.version, tc.text, got, tc.ike)
		}
		_, err = apiv1.ParseESPProposal(tc.text, tc.version)
		if got := message(err); got != tc.esp {
			t.Errorf("ESP of IKEv%d %s: %q, want %q", tc.version, tc.text, got, tc.esp)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestProposalParts(t *testing.T) {
	got, err := apiv1.ParseIKEProposal("aes128-sha1-sha256-prfsha1-modp1024-x25519-ke2_mlkem768-ke3_modp1536", 2)
	if err != nil {
		t.Fatal(err)
	}
	want := apiv1.Proposal{
		Encryption: []string{"aes128"}, Integrity: []string{"sha1", "sha256"}, PRF: []string{"prfsha1"},
		KeyExchange: []string{"modp1024", "x25519"}, Additional: map[int][]string{2: {"mlkem768"}, 3: {"modp1536"}},
		Weak: []string{"sha1", "prfsha1", "modp1024", "ke3_modp1536"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOfferedProposals(t *testing.T) {
	ike := func(pq string, version uint32) *apiv1.IKE {
		return &apiv1.IKE{Version: version, PostQuantum: pq, Proposals: []string{"aes256gcm16-prfsha384-ecp384", "aes128-sha1-modp1024"}}
	}
	for _, tc := range []struct {
		name string
		ike  *apiv1.IKE
		want []string
	}{
		{"AUTO", ike("AUTO", 2), []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", "aes256gcm16-prfsha384-ecp384", "aes128-sha1-modp1024"}},
		{"AUTO with IKEv1", ike("AUTO", 1), []string{"aes256gcm16-prfsha384-ecp384", "aes128-sha1-modp1024"}},
		{"OFF", ike("OFF", 2), []string{"aes256gcm16-prfsha384-ecp384", "aes128-sha1-modp1024"}},
		{"REQUIRED", ike("REQUIRED", 2), []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", "aes128-sha1-modp1024-ke1_mlkem768"}},
		{"named already", &apiv1.IKE{Version: 2, PostQuantum: "REQUIRED", Proposals: []string{"aes256-sha256-x25519-ke1_mlkem1024"}},
			[]string{"aes256-sha256-x25519-ke1_mlkem1024"}},
	} {
		if diff := cmp.Diff(tc.want, apiv1.OfferedIKEProposals(tc.ike)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	esp := &apiv1.ESP{Pfs: "OPTIONAL", Proposals: []string{"aes256gcm16-ecp384", "aes256gcm16-x25519-none", "aes128-sha256"}}
	want := []string{
		"aes256gcm16-ecp384-ke1_mlkem768", "aes256gcm16-x25519-none-ke1_mlkem768",
		"aes256gcm16-ecp384", "aes256gcm16-x25519-none", "aes128-sha256", "aes256gcm16",
	}
	if diff := cmp.Diff(want, apiv1.OfferedESPProposals(esp, ike("AUTO", 2))); diff != "" {
		t.Errorf("ESP (-want +got):\n%s", diff)
	}
	esp = &apiv1.ESP{Pfs: "REQUIRED", Proposals: []string{"aes256gcm16-ecp384"}}
	if diff := cmp.Diff([]string{"aes256gcm16-ecp384-ke1_mlkem768"}, apiv1.OfferedESPProposals(esp, ike("REQUIRED", 2))); diff != "" {
		t.Errorf("ESP when it is required (-want +got):\n%s", diff)
	}
}

func TestNeedsMLKEM(t *testing.T) {
	for _, tc := range []struct {
		name string
		spec *apiv1.VPNTunnelSpec
		want bool
	}{
		{"AUTO", &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 2, PostQuantum: "AUTO", Proposals: []string{"aes256gcm16-prfsha384-ecp384"}}}, false},
		{"REQUIRED", &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 2, PostQuantum: "REQUIRED"}}, true},
		{"named for IKE", &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 2, Proposals: []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768"}}}, true},
		{"named for ESP", &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 2}, Esp: &apiv1.ESP{Proposals: []string{"aes256gcm16-ecp384-ke2_mlkem512"}}}, true},
		{"another additional exchange", &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 2, Proposals: []string{"aes256-sha256-x25519-ke1_ecp384"}}}, false},
	} {
		if got := apiv1.NeedsMLKEM(tc.spec); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func FuzzProposal(f *testing.F) {
	for _, seed := range []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", "aes256-sha256-modp2048-none-esn", "3des-md5-modp768", "ke1_", "-", "ke_1"} {
		f.Add(seed, uint32(2))
	}
	f.Fuzz(func(t *testing.T, text string, version uint32) {
		p, err := apiv1.ParseIKEProposal(text, version)
		if err == nil && (!p.HasGroup() || len(p.Encryption) == 0 || strings.Contains(text, "none-") && len(p.Additional) == 0) {
			t.Errorf("accepted %q as %+v", text, p)
		}
		p, err = apiv1.ParseESPProposal(text, version)
		if err != nil {
			return
		}
		if len(p.Encryption) == 0 || !p.AEAD && len(p.Integrity) == 0 || len(p.PRF) > 0 {
			t.Errorf("accepted %q as %+v", text, p)
		}
		if strings.ContainsAny(text, " ,!\x00\n") {
			t.Errorf("accepted %q, which would end the list in charon's configuration", text)
		}
		for _, offered := range apiv1.OfferedESPProposals(&apiv1.ESP{Pfs: "OPTIONAL", Proposals: []string{text}}, &apiv1.IKE{Version: 2, PostQuantum: "AUTO"}) {
			if _, err := apiv1.ParseESPProposal(offered, 2); err != nil {
				t.Errorf("%q is offered as %q: %v", text, offered, err)
			}
		}
	})
}
