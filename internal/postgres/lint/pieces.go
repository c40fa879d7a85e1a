package lint

import (
	"strings"
)

// Piece is one statement of a text and how it stands to transactions.
type Piece struct {
	SQL string
	// Control begins, ends or divides a transaction.
	Control bool
	// Alone is one that PostgreSQL refuses within a transaction.
	Alone bool
}

// Pieces takes a text apart with PostgreSQL's own grammar. It is an error when the
// text is not SQL.
func Pieces(text string) ([]Piece, error) {
	statements, err := parse(Source{Name: "statement", Text: text})
	if err != nil {
		return nil, err
	}
	var out []Piece
	for _, s := range statements {
		p := Piece{SQL: text[s.start:s.end], Control: s.node.kind == "TransactionStmt"}
		p.Alone = alone(s.node, p.SQL)
		out = append(out, p)
	}
	return out, nil
}

// standing are the parts of statements that decide whether they stand alone.
type standing struct {
	Concurrent  bool   `json:"concurrent"`
	Kind        string `json:"kind"`
	Target      string `json:"target"`
	Relation    *node  `json:"relation"`
	IsVacuum    bool   `json:"is_vacuumcmd"`
	Params      []node `json:"params"`
	Commands    []node `json:"cmds"`
	Definition  node   `json:"def"`
	Subcommands string `json:"subtype"`
}

// alone tells the statements that refuse a transaction (PostgreSQL manual, the
// pages of each; PreventInTransactionBlock in the server). A CALL or DO that ends
// transactions itself is told by its text.
func alone(n node, sql string) bool {
	s := decode[standing](n)
	switch n.kind {
	case "CreatedbStmt", "DropdbStmt", "AlterSystemStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt", "CreateSubscriptionStmt", "DropSubscriptionStmt":
		return true
	case "IndexStmt", "DropStmt":
		return s.Concurrent
	case "ReindexStmt":
		return s.Kind != "REINDEX_OBJECT_INDEX" && s.Kind != "REINDEX_OBJECT_TABLE" || mentions(s.Params, "concurrently")
	case "VacuumStmt":
		return s.IsVacuum
	case "ClusterStmt":
		return s.Relation == nil
	case "DiscardStmt":
		return s.Target == "DISCARD_ALL"
	case "AlterTableStmt":
		return detachesConcurrently(s.Commands)
	case "CallStmt", "DoStmt":
		upper := strings.ToUpper(sql)
		return n.kind == "CallStmt" || strings.Contains(upper, "COMMIT") || strings.Contains(upper, "ROLLBACK")
	}
	return false
}

func mentions(options []node, name string) bool {
	for _, o := range options {
		if decode[struct {
			Name string `json:"defname"`
		}](o).Name == name {
			return true
		}
	}
	return false
}

func detachesConcurrently(commands []node) bool {
	for _, c := range commands {
		part := decode[standing](c)
		if part.Subcommands == "AT_DetachPartition" && decode[standing](part.Definition).Concurrent {
			return true
		}
	}
	return false
}
