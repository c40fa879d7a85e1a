package cli

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/run"
)

// attestFlags are what a person says and how it is signed.
type attestFlags struct {
	evidence
	choice, role, key, statement, signature string
	no, print                               bool
}

func attestCommand(o *options) *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use: "attest ENV ITEM", Short: "state an item as a person, with evidence", Args: cobra.ExactArgs(2),
		Long: `attest states that an item is so, or with --no that it is not. It needs the
evidence that the item asks for, which is kept by its SHA-256. A person who has a
key in allclear.yaml signs the statement with it.

  $ allclear attest production post.docs.debriefed --url https://wiki/notes/42
  $ allclear attest production pre.test.uat --file uat-report.pdf --as ana

Without a shell here, print the bytes, sign them elsewhere, bring the signature:

  $ allclear attest production ITEM --text "seen" --as ana --print > statement.json
  $ ssh-keygen -Y sign -n attest@allclear.dev -f ~/.ssh/id_ed25519 statement.json
  $ allclear attest production ITEM --text "seen" --as ana --statement statement.json --signature statement.json.sig`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.file = o.path(f.file)
			err := o.act(cmd.Context(), args[0], func(s *site, state *run.State, who string) (run.Event, error) {
				return o.attestation(cmd.Context(), s, state, who, args[1], f)
			})
			if errors.Is(err, errPrinted) {
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.text, "text", "", "a statement in words")
	flags.StringVar(&f.url, "url", "", "an address where the evidence is")
	flags.StringVar(&f.file, "file", "", "a file that is kept as evidence")
	flags.StringVar(&f.ticket, "ticket", "", "a ticket's key or address")
	flags.StringVar(&f.choice, "choice", "", "the answer, where the item offers some")
	flags.StringVar(&f.role, "role", "", "the role you state it in")
	flags.StringVar(&f.key, "key", "", "the private key `FILE` (default: the agent, then ~/.ssh)")
	flags.StringVar(&f.statement, "statement", "", "the `FILE` that was signed elsewhere")
	flags.StringVar(&f.signature, "signature", "", "the signature that ssh-keygen -Y sign made")
	flags.BoolVar(&f.no, "no", false, "state that it is not so")
	flags.BoolVar(&f.print, "print", false, "print the bytes to sign, and state nothing")
	return cmd
}

// errPrinted ends a verb that only printed what is to be signed.
var errPrinted = errors.New("printed")

// attestation makes the event of a statement, signed if the person has a key.
func (o *options) attestation(ctx context.Context, s *site, state *run.State, who, name string, f attestFlags) (run.Event, error) {
	it, err := item(state, name)
	if err != nil {
		return run.Event{}, err
	}
	role, err := roleFor(s, it, who, f.role)
	if err != nil {
		return run.Event{}, err
	}
	event, err := f.event(s, it)
	if err != nil {
		return run.Event{}, err
	}
	event.Item, event.Role, event.Reason, event.Verdict = it.ID, role, orText(f.summary(), f.choice), string(run.Pass)
	if f.choice != "" {
		event.Facts["choice"] = f.choice
	}
	if f.no {
		event.Verdict = string(run.Fail)
	} else if err := f.value(it, &event); err != nil {
		return run.Event{}, err
	}
	keys := s.cfg.People[who].Keys
	if len(keys) == 0 && f.signature == "" && f.key == "" && !f.print {
		return event, nil
	}
	return o.signAttestation(ctx, s, state, it, who, event, keys, f)
}

// value makes the text given the fact that an input asks for.
func (f attestFlags) value(it *run.Item, event *run.Event) error {
	if it.Person == nil || it.Person.Fact == "" {
		return nil
	}
	if choices := it.Person.Choice; len(choices) > 0 && !slices.Contains(choices, f.text) {
		return fail(ExitUsage, "give --text with one of them", "%s: %q is none of %s", it.ID, f.text, strings.Join(choices, ", "))
	}
	if it.Person.Match != "" {
		match, err := regexp.Compile(`\A(?:` + it.Person.Match + `)\z`)
		if err != nil {
			return fail(ExitUsage, "", "%s: the plan's expression cannot be read: %v", it.ID, err)
		}
		if !match.MatchString(f.text) {
			return fail(ExitUsage, "the whole text must match", "%s: %q does not look like %s", it.ID, f.text, it.Person.Match)
		}
	}
	event.Sets = map[string]string{it.Person.Fact: f.text}
	return nil
}

func (o *options) signAttestation(ctx context.Context, s *site, state *run.State, it *run.Item, who string, event run.Event, keys []string, f attestFlags) (run.Event, error) {
	var text, armored []byte
	var err error
	if f.signature != "" {
		if text, err = readBounded(o.path(f.statement), maxSigned); err != nil {
			return event, fail(ExitUsage, "--statement is the file that --print wrote", "read the statement: %v", err)
		}
		if armored, err = readBounded(o.path(f.signature), maxSigned); err != nil {
			return event, fail(ExitUsage, "", "read the signature: %v", err)
		}
	} else {
		st, err := s.statement(ctx, state, it, who, event.Role)
		if err != nil {
			return event, err
		}
		st.Type, st.Decision, st.Comment, st.Evidence = attestationStatement, event.Verdict, event.Reason, evidenceDigest(event.Artefacts)
		if f.print {
			return event, errors.Join(o.writeStatement(st), errPrinted)
		}
		if text, armored, err = o.signStatement(st, keys, f.key); err != nil {
			return event, err
		}
	}
	st, err := readStatement(text)
	if err != nil {
		return event, fail(ExitUsage, "", "%v", err)
	}
	if event.Until, err = time.Parse(time.RFC3339, st.Expires); err != nil {
		return event, fail(ExitUsage, "", "the statement's end is not a time: %v", err)
	}
	event.Statement, event.Signature = string(text), string(armored)
	return event, nil
}
