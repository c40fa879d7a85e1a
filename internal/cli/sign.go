package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// signNamespace keeps a sign-off's signature from being any other signature.
const signNamespace = "signoff@allclear.dev"

// statement is what a person signs. Every field is there because without it a
// signature could be used for something else: another run, gate, role, plan,
// policy, content, record or time.
type statement struct {
	V           int    `json:"v"`
	Type        string `json:"type"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
	Run         string `json:"run"`
	Item        string `json:"item"`
	Gate        string `json:"gate"`
	Role        string `json:"role"`
	Person      string `json:"person"`
	Decision    string `json:"decision"`
	Release     string `json:"release"`
	Revision    string `json:"revision"`
	Plan        string `json:"plan_sha256"`
	Policy      string `json:"policy_sha256"`
	Subject     string `json:"subject_sha256"`
	LogSize     int64  `json:"log_size"`
	LogRoot     string `json:"log_root"`
	Comment     string `json:"comment"`
	Nonce       string `json:"nonce"`
	Issued      string `json:"issued"`
	Expires     string `json:"expires"`
}

func signCommand(o *options) *cobra.Command {
	var role, keyFile, comment, signature, statementFile string
	var reject, printOnly bool
	cmd := &cobra.Command{
		Use: "sign ENV ITEM", Short: "sign a gate in your role, or refuse it", Args: cobra.ExactArgs(2),
		Long: `sign shows what is signed and signs it with your SSH key: from the agent, or
--key FILE. Without a shell here, take the bytes elsewhere and bring the signature:

  $ allclear sign production signoff.pre.tech-lead --as ana --print > statement.json
  $ ssh-keygen -Y sign -n signoff@allclear.dev -f ~/.ssh/id_ed25519 statement.json
  $ allclear sign production signoff.pre.tech-lead --as ana --statement statement.json --signature statement.json.sig`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if printOnly {
				return o.printStatement(cmd, args[0], args[1], role, comment, reject)
			}
			return o.act(cmd.Context(), args[0], func(s *site, state *run.State, who string) (run.Event, error) {
				it, err := item(state, args[1])
				if err != nil {
					return run.Event{}, err
				}
				if signature != "" {
					return foreignSignature(o.path(statementFile), o.path(signature))
				}
				st, err := s.statement(cmd, state, it, who, role, comment, reject)
				if err != nil {
					return run.Event{}, err
				}
				text, err := journal.Canonical(st)
				if err != nil {
					return run.Event{}, fmt.Errorf("encode the statement: %w", err)
				}
				o.showStatement(state, st)
				armored, err := o.signText(text, s.cfg.People[who].Keys, keyFile)
				if err != nil {
					return run.Event{}, err
				}
				return signedEvent(text, armored)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "", "the role you sign in")
	flags.StringVar(&keyFile, "key", "", "the private key `FILE` (default: the agent, then ~/.ssh)")
	flags.StringVar(&comment, "comment", "", "what you want to say with it; required with --reject")
	flags.BoolVar(&reject, "reject", false, "do not go: final for this gate")
	flags.BoolVar(&printOnly, "print", false, "print the bytes to sign, and sign nothing")
	flags.StringVar(&statementFile, "statement", "", "the `FILE` that was signed elsewhere")
	flags.StringVar(&signature, "signature", "", "the signature that ssh-keygen -Y sign made")
	return cmd
}

func (o *options) printStatement(cmd *cobra.Command, environment, name, role, comment string, reject bool) error {
	s, err := o.site(environment)
	if err != nil {
		return err
	}
	f, err := o.openRun(cmd.Context(), s, "")
	if err != nil {
		return err
	}
	defer f.close()
	who, err := o.person(s)
	if err != nil {
		return err
	}
	it, err := item(&f.state, name)
	if err != nil {
		return err
	}
	st, err := s.statement(cmd, &f.state, it, who, role, comment, reject)
	if err != nil {
		return err
	}
	text, err := journal.Canonical(st)
	if err != nil {
		return fmt.Errorf("encode the statement: %w", err)
	}
	_, err = o.Out.Write(text)
	return err
}

// statement makes what a person would sign now.
func (s *site) statement(cmd *cobra.Command, state *run.State, it *run.Item, who, role, comment string, reject bool) (statement, error) {
	role, err := roleFor(s, it, who, role)
	if err != nil {
		return statement{}, err
	}
	if reject && strings.TrimSpace(comment) == "" {
		return statement{}, fail(ExitUsage, "", "--reject needs --comment with the reason")
	}
	head, err := s.openEnvironment(cmd.Context(), s.environment)
	if err != nil {
		return statement{}, err
	}
	defer head.Close()
	checkpoint, err := head.Head(cmd.Context())
	if err != nil {
		return statement{}, fail(ExitStorage, "", "read the record's head: %v", err)
	}
	lasts := s.cfg.Policy.SignatureExpires
	if it.Person != nil && it.Person.Expires > 0 {
		lasts = min(lasts, it.Person.Expires)
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // crypto/rand never fails
	now := time.Now().UTC().Truncate(time.Second)
	decision := "approve"
	if reject {
		decision = "reject"
	}
	return statement{
		V: 1, Type: "allclear.signoff", Project: state.Plan.Project, Environment: state.Plan.Environment,
		Run: state.Run, Item: it.ID, Gate: it.Gate, Role: role, Person: who, Decision: decision,
		Release: state.Plan.Release.Version, Revision: state.Plan.Release.Revision,
		Plan: state.PlanDigest, Policy: state.Plan.Policy, Subject: state.Subject(it.Gate),
		LogSize: int64(checkpoint.Size), LogRoot: hex.EncodeToString(checkpoint.Root[:]),
		Comment: comment, Nonce: hex.EncodeToString(nonce),
		Issued: now.Format(time.RFC3339), Expires: now.Add(lasts).Format(time.RFC3339),
	}, nil
}

// showStatement tells what is signed before it is: the weak spots first.
func (o *options) showStatement(state *run.State, st statement) {
	t := count(state, st.Gate)
	fmt.Fprintf(o.Err, "%s %s to %s, gate %s, as %s: %s\n", st.Project, st.Release, st.Environment, st.Gate, st.Role, st.Decision)
	for i := range state.Plan.Items {
		if state.Plan.Items[i].Gate == st.Gate && state.Waived(i) {
			w := state.Items[i].Waiver
			fmt.Fprintf(o.Err, "  waived: %s by %s: %s\n", state.Plan.Items[i].ID, w.Person, w.Reason)
		}
	}
	fmt.Fprintf(o.Err, "  %d ok, %d n/a, %d waived, %d not\n  content sha256 %s, valid until %s\n", t.green, t.na, t.waived, t.bad, short(st.Subject), st.Expires)
}

// foreignSignature takes a statement and its signature made elsewhere.
func foreignSignature(statementFile, signatureFile string) (run.Event, error) {
	text, err := readBounded(statementFile)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "--statement is the file that --print wrote", "read the statement: %v", err)
	}
	armored, err := readBounded(signatureFile)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "", "read the signature: %v", err)
	}
	return signedEvent(text, armored)
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 1<<16))
}

// signedEvent makes the event that hands in a signed statement.
func signedEvent(text, armored []byte) (run.Event, error) {
	st, err := readStatement(text)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "", "%v", err)
	}
	until, err := time.Parse(time.RFC3339, st.Expires)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "", "the statement's end is not a time: %v", err)
	}
	return run.Event{
		Type: run.Signed, Item: st.Item, Role: st.Role, Verdict: st.Decision, Reason: st.Comment, Subject: st.Subject,
		Statement: string(text), Signature: string(armored), Until: until,
	}, nil
}

func readStatement(text []byte) (statement, error) {
	var st statement
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&st); err != nil {
		return st, fmt.Errorf("read the statement: %w", err)
	}
	again, err := journal.Canonical(st)
	if err != nil || !bytes.Equal(again, text) {
		return st, errors.New("the statement is not in its canonical form: sign exactly the bytes that --print wrote")
	}
	return st, nil
}

// verifySignature is the door: a sign-off counts only with a signature, by a key
// of that person, over a statement that says exactly what the event says.
func (s *site) verifySignature(event run.Event, state *run.State) error {
	st, err := readStatement([]byte(event.Statement))
	if err != nil {
		return err
	}
	it, _ := state.Of(event.Item)
	for _, c := range []struct{ what, signed, stands string }{
		{"run", st.Run, state.Run}, {"item", st.Item, event.Item}, {"gate", st.Gate, it.Gate},
		{"environment", st.Environment, state.Plan.Environment}, {"plan", st.Plan, state.PlanDigest},
		{"policy", st.Policy, state.Plan.Policy}, {"release", st.Release, state.Plan.Release.Version},
		{"role", st.Role, event.Role}, {"person", st.Person, event.Actor}, {"decision", st.Decision, event.Verdict},
		{"content", st.Subject, event.Subject}, {"end", st.Expires, event.Until.UTC().Format(time.RFC3339)},
	} {
		if c.signed != c.stands {
			return fmt.Errorf("the signature is for another %s: %q, not %q", c.what, c.signed, c.stands)
		}
	}
	if !slices.Contains(s.cfg.RolesOf(event.Actor), event.Role) {
		return fmt.Errorf("%s does not have the role %q", event.Actor, event.Role)
	}
	return verifyText([]byte(event.Statement), []byte(event.Signature), s.cfg.People[event.Actor].Keys, event.Actor)
}

// verifyText checks an armored SSH signature against a person's keys.
func verifyText(text, armored []byte, keys []string, person string) error {
	signature, err := sshsig.Unarmor(armored)
	if err != nil {
		return fmt.Errorf("read the signature: %w", err)
	}
	for _, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || !bytes.Equal(key.Marshal(), signature.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(text), signature, key, signature.HashAlgorithm, signNamespace); err != nil {
			return fmt.Errorf("the signature does not fit the statement: %w", err)
		}
		return nil
	}
	return fmt.Errorf("the signature was made with a key that is not one of %s's in allclear.yaml", person)
}

// signText signs with the key file given, a key of the agent, or one of ~/.ssh:
// whichever belongs to the person.
func (o *options) signText(text []byte, keys []string, keyFile string) ([]byte, error) {
	signer, err := findSigner(o.path(keyFile), keys)
	if err != nil {
		return nil, err
	}
	signature, err := sshsig.Sign(bytes.NewReader(text), signer, sshsig.HashSHA512, signNamespace)
	if err != nil {
		return nil, fail(ExitFailed, "", "sign: %v", err)
	}
	return sshsig.Armor(signature), nil
}

func findSigner(keyFile string, keys []string) (ssh.Signer, error) {
	if keyFile != "" {
		return readKey(keyFile)
	}
	for _, signer := range agentSigners() {
		if slices.ContainsFunc(keys, func(line string) bool { return sameKey(line, signer.PublicKey()) }) {
			return signer, nil
		}
	}
	home, err := os.UserHomeDir()
	if err == nil {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			signer, err := readKey(filepath.Join(home, ".ssh", name))
			if err == nil && slices.ContainsFunc(keys, func(line string) bool { return sameKey(line, signer.PublicKey()) }) {
				return signer, nil
			}
		}
	}
	return nil, fail(ExitNotAllowed, "--key FILE names it; --print and --signature sign elsewhere", "none of your keys in allclear.yaml is in the agent or in ~/.ssh")
}

func sameKey(line string, key ssh.PublicKey) bool {
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	return err == nil && bytes.Equal(parsed.Marshal(), key.Marshal())
}

func readKey(path string) (ssh.Signer, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, fail(ExitUsage, "", "read the key: %v", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fail(ExitUsage, "an encrypted key is used through the agent: ssh-add "+path, "read the key %s: %v", path, err)
	}
	return signer, nil
}

func agentSigners() []ssh.Signer {
	address := os.Getenv("SSH_AUTH_SOCK")
	if address == "" {
		return nil
	}
	conn, err := net.DialTimeout("unix", address, 2*time.Second)
	if err != nil {
		return nil
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil
	}
	return signers
}
