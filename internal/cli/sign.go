package cli

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hiddeco/sshsig"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

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
				st, err := s.signStatement(cmd.Context(), state, it, who, role, comment, reject)
				if err != nil {
					return run.Event{}, err
				}
				o.showStatement(state, st)
				text, armored, err := o.signStatement(st, s.cfg.People[who].Keys, keyFile)
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
	st, err := s.signStatement(cmd.Context(), &f.state, it, who, role, comment, reject)
	if err != nil {
		return err
	}
	return o.writeStatement(st)
}

// writeStatement prints the bytes that are to be signed elsewhere.
func (o *options) writeStatement(st statement) error {
	text, err := journal.Canonical(st)
	if err != nil {
		return fmt.Errorf("encode the statement: %w", err)
	}
	_, err = o.Out.Write(text)
	return err
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
	text, err := readBounded(statementFile, maxSigned)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "--statement is the file that --print wrote", "read the statement: %v", err)
	}
	armored, err := readBounded(signatureFile, maxSigned)
	if err != nil {
		return run.Event{}, fail(ExitUsage, "", "read the signature: %v", err)
	}
	return signedEvent(text, armored)
}

// maxSigned bounds a statement, a signature and a key, in bytes.
const maxSigned = 1 << 16

// readBounded reads a file; one that is longer than limit bytes is an error.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return text, err
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

// signStatement signs with the key file given, a key of the agent, or one of
// ~/.ssh: whichever belongs to the person. It gives the bytes signed and the
// signature.
func (o *options) signStatement(st statement, keys []string, keyFile string) (text, armored []byte, err error) {
	text, err = journal.Canonical(st)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the statement: %w", err)
	}
	signer, err := findSigner(o.path(keyFile), keys)
	if err != nil {
		return nil, nil, err
	}
	signature, err := sshsig.Sign(bytes.NewReader(text), signer, sshsig.HashSHA512, st.namespace())
	if err != nil {
		return nil, nil, fail(ExitFailed, "", "sign: %v", err)
	}
	return text, sshsig.Armor(signature), nil
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
	text, err := readBounded(path, maxSigned)
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
