package charontest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// commands maps names to handlers, which run with the server locked. A nil reply sends none.
func commands() map[string]func(*Server, *session, *vici.Message) *vici.Message {
	return map[string]func(*Server, *session, *vici.Message) *vici.Message{
		"version":        (*Server).cmdVersion,
		"get-algorithms": (*Server).cmdGetAlgorithms,
		"load-conn":      (*Server).cmdLoadConn,
		"unload-conn":    (*Server).cmdUnloadConn,
		"load-shared":    (*Server).cmdLoadShared,
		"unload-shared":  (*Server).cmdUnloadShared,
		"get-conns":      (*Server).cmdGetConns,
		"get-shared":     (*Server).cmdGetShared,
		"list-conns":     (*Server).cmdListConns,
		"list-sas":       (*Server).cmdListSAs,
		"initiate":       (*Server).cmdInitiate,
		"terminate":      (*Server).cmdTerminate,
		"rekey":          (*Server).cmdRekey,
	}
}

func success() *vici.Message { return new(vici.Message).Set("success", "yes") }

func refusal(format string, args ...any) *vici.Message {
	return new(vici.Message).Set("success", "no").Set("errmsg", fmt.Sprintf(format, args...))
}

func (s *Server) cmdVersion(*session, *vici.Message) *vici.Message {
	return new(vici.Message).Set("daemon", "charon-systemd").Set("version", s.version()).Set("sysname", "Linux")
}

// cmdGetAlgorithms lists key exchanges with the plugins that bring them; the section's name changed with 6.0.
func (s *Server) cmdGetAlgorithms(*session, *vici.Message) *vici.Message {
	section := "ke"
	if older(s.version(), "6.0.0") {
		section = "dh"
	}
	methods := new(vici.Message).Set("ECP_384", "openssl").Set("CURVE_25519", "openssl").Set("MODP_2048", "openssl")
	if s.MLKEM && section == "ke" {
		methods.Set("ML_KEM_512", "ml").Set("ML_KEM_768", "ml").Set("ML_KEM_1024", "ml")
	}
	return new(vici.Message).SetSection("aead", new(vici.Message).Set("AES_GCM_16", "openssl")).SetSection(section, methods)
}

func (s *Server) cmdLoadConn(_ *session, in *vici.Message) *vici.Message {
	for name, m := range in.Sections() {
		if s.Refuse != nil {
			if text := s.Refuse(name); text != "" {
				return refusal("%s", text)
			}
		}
		if text := checkConn(m, s.version()); text != "" {
			return refusal("%s", text)
		}
		encoded, err := vici.Encode(vici.Packet{Type: vici.CmdRequest, Name: "x", Message: m})
		if err != nil {
			return refusal("%v", err)
		}
		if s.conns[name] == nil {
			s.order = append(s.order, name)
		}
		if old := s.conns[name]; old == nil || old.encoded != string(encoded) {
			// One that is equal is not replaced: its IKE_SAs stay its own (vici_config.c's merge_config).
			s.conns[name] = &connection{message: m, encoded: string(encoded)}
		}
		return success()
	}
	return refusal("no connection")
}

func (s *Server) cmdUnloadConn(_ *session, in *vici.Message) *vici.Message {
	name := in.Get("name")
	if s.conns[name] == nil {
		return refusal("unload: connection '%s' not found", name)
	}
	delete(s.conns, name)
	s.order = slices.DeleteFunc(s.order, func(n string) bool { return n == name })
	return success()
}

func (s *Server) cmdLoadShared(_ *session, in *vici.Message) *vici.Message {
	switch {
	case in.Get("type") != "IKE":
		return refusal("invalid shared key type: %s", in.Get("type"))
	case in.Get("data") == "":
		return refusal("shared key data missing")
	}
	s.loads = append(s.loads, in.Get("id"))
	s.secrets[in.Get("id")] = Secret{Type: in.Get("type"), Data: in.Get("data"), Owners: in.List("owners")}
	return success()
}

func (s *Server) cmdUnloadShared(_ *session, in *vici.Message) *vici.Message {
	if in.Get("id") == "" {
		return refusal("unique identifier missing")
	}
	delete(s.secrets, in.Get("id"))
	return success()
}

func (s *Server) cmdGetConns(*session, *vici.Message) *vici.Message {
	return new(vici.Message).SetList("conns", s.order...)
}

func (s *Server) cmdGetShared(*session, *vici.Message) *vici.Message {
	var ids []string
	for id := range s.secrets {
		ids = append(ids, id)
	}
	return new(vici.Message).SetList("keys", ids...)
}

func (s *Server) cmdListConns(c *session, _ *vici.Message) *vici.Message {
	if c.events["list-conn"] {
		for _, name := range s.order {
			c.send(vici.Packet{Type: vici.EventPacket, Name: "list-conn", Message: new(vici.Message).SetSection(name, s.conns[name].message)})
		}
	}
	return new(vici.Message)
}

// cmdListSAs releases the lock between items, so that events and other clients interleave with a listing as they do in charon.
func (s *Server) cmdListSAs(c *session, _ *vici.Message) *vici.Message {
	for i, sa := range slices.Clone(s.ikes) {
		if s.BetweenItems != nil {
			s.mu.Unlock()
			s.BetweenItems(i)
			s.mu.Lock()
		}
		if sa.gone {
			continue
		}
		if c.events["list-sa"] {
			c.send(vici.Packet{Type: vici.EventPacket, Name: "list-sa", Message: sa.message(true)})
		}
	}
	if !s.up {
		return nil
	}
	return new(vici.Message)
}

func (s *Server) cmdInitiate(_ *session, in *vici.Message) *vici.Message {
	name := in.Get("ike")
	conn := s.conns[name]
	if conn == nil || conn.message.Section("children").Section(in.Get("child")) == nil {
		return refusal("CHILD_SA config '%s' not found", in.Get("child"))
	}
	if in.Get("timeout") != "-1" {
		return refusal("this charon only initiates without waiting")
	}
	s.attempts[name]++
	outcome := Up
	if s.Peer != nil {
		outcome = s.Peer(name, s.attempts[name])
	}
	s.negotiate(name, conn, outcome, true)
	return success()
}

func (s *Server) cmdTerminate(_ *session, in *vici.Message) *vici.Message {
	matches, ended := 0, 0
	for _, sa := range slices.Clone(s.ikes) {
		id := strconv.FormatUint(uint64(sa.id), 10)
		if (in.Get("ike") != "" && in.Get("ike") == sa.name) || (in.Get("ike-id") != "" && in.Get("ike-id") == id) {
			matches++
			if s.Ends != nil && s.Ends(sa.name) {
				ended++
			}
			s.remove(sa)
		}
		for _, child := range slices.Clone(sa.children) {
			if in.Get("child-id") == strconv.FormatUint(uint64(child.id), 10) {
				matches++
				s.removeChild(sa, child)
			}
		}
	}
	switch {
	case matches == 0:
		return refusal("no matching SAs to terminate found").Set("matches", "0").Set("terminated", "0")
	case ended == 1 && matches == 1:
		return refusal("terminating SA failed").Set("matches", "1").Set("terminated", "0")
	case ended > 0:
		return refusal("not all matching SAs could be terminated").Set("matches", strconv.Itoa(matches)).Set("terminated", strconv.Itoa(matches-ended))
	}
	return success().Set("matches", strconv.Itoa(matches))
}

// cmdRekey replaces one CHILD_SA. The peer always agrees.
func (s *Server) cmdRekey(_ *session, in *vici.Message) *vici.Message {
	if in.Get("child-id") == "" {
		return refusal("missing rekey selector")
	}
	for _, sa := range s.ikes {
		for _, child := range slices.Clone(sa.children) {
			if in.Get("child-id") == strconv.FormatUint(uint64(child.id), 10) {
				s.rekey(sa, child, false)
				return success().Set("matches", "1")
			}
		}
	}
	return refusal("no matching SAs to rekey found").Set("matches", "0")
}

// keys lists the options of one section of a connection with the release that introduced them (strongSwan's vici_config.c).
func connKeys() map[string]string {
	return keys("version aggressive pull dscp encap mobike dpd_delay dpd_timeout fragmentation childless unique keyingtries reauth_time " +
		"rekey_time over_time rand_time if_id_in if_id_out send_certreq send_cert ppk_id ppk_required local_port remote_port ocsp=5.9.14")
}

func connLists() map[string]string { return keys("local_addrs remote_addrs proposals vips pools") }

func childKeys() map[string]string {
	return keys("updown hostaccess mode policies policies_fwd_out replay_window rekey_time life_time rand_time rekey_bytes life_bytes rand_bytes " +
		"rekey_packets life_packets rand_packets dpd_action start_action close_action ipcomp inactivity reqid mark_in mark_in_sa mark_out set_mark_in " +
		"set_mark_out tfc_padding priority interface hw_offload sha256_96 copy_df copy_ecn copy_dscp if_id_in if_id_out label label_mode " +
		"per_cpu_sas=6.0.2 icmp=6.0.5")
}

func childLists() map[string]string { return keys("ah_proposals esp_proposals local_ts remote_ts") }
func authKeys() map[string]string {
	return keys("auth id eap_id aaa_id xauth_id round revocation ca_id")
}
func noKeys() map[string]string { return keys("") }

func keys(list string) map[string]string {
	out := make(map[string]string)
	for word := range strings.FieldsSeq(list) {
		name, since, _ := strings.Cut(word, "=")
		out[name] = since
	}
	return out
}

func checkConn(m *vici.Message, version string) string {
	if text := checkSection(m, version, connKeys(), connLists()); text != "" {
		return text
	}
	for name, section := range m.Sections() {
		switch {
		case strings.HasPrefix(name, "local"), strings.HasPrefix(name, "remote"):
			if text := checkSection(section, version, authKeys(), noKeys()); text != "" {
				return text
			}
		case name == "children":
			for _, child := range section.Sections() {
				if text := checkSection(child, version, childKeys(), childLists()); text != "" {
					return text
				}
			}
		default:
			return fmt.Sprintf("invalid section: %s, config discarded", name)
		}
	}
	return checkProposals(m, version)
}

func checkSection(m *vici.Message, version string, values, lists map[string]string) string {
	for _, name := range m.Names() {
		allowed := values
		if m.List(name) != nil {
			allowed = lists
		} else if m.Section(name) != nil {
			continue
		}
		since, known := allowed[name]
		if !known || since != "" && older(version, since) {
			return fmt.Sprintf("unknown option: %s, config discarded", name)
		}
	}
	return ""
}

func checkProposals(m *vici.Message, version string) string {
	proposals := m.List("proposals")
	for _, child := range m.Section("children").Sections() {
		proposals = append(slices.Clone(proposals), child.List("esp_proposals")...)
	}
	for _, p := range proposals {
		for word := range strings.SplitSeq(p, "-") {
			unknown := !strings.ContainsAny(word, "0123456789") && word != "none"
			if unknown || (strings.HasPrefix(word, "ke") || strings.HasPrefix(word, "mlkem")) && older(version, "6.0.0") {
				return "invalid value for: proposals, config discarded"
			}
		}
	}
	return ""
}
