//! A trading database that grows: the same for the same seed, in log mode with pages of 4 KiB.
//!
//! Prices are random walks in ticks, symbols are traded unequally often, times are milliseconds, orders carry a token of 16 random bytes.
//! The tables have the indexes that such a database has, so that a step changes pages in many places.

use std::path::Path;

use rusqlite::{Connection, Statement, Transaction, params};

use crate::corpus::Random;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// What one step adds and changes.
const TRADES: u64 = 1000;
const MARKET_ROWS: u64 = 4000;
const UPDATES: u64 = 600;
/// Transactions of a step.
const TRANSACTIONS: u64 = 5;

const SYMBOLS: u64 = 500;
const ACCOUNTS: u64 = 5000;
const POSITIONS: u64 = 12;
/// Orders that are placed for a step's worth of history.
const ORDERS: u64 = 500;
/// Trades without a new order come of one of so many youngest.
const OPEN_ORDERS: u64 = 20_000;
/// Milliseconds from one row to the next: a step is a quarter of an hour.
const ROW_MS: u64 = 15 * 60 * 1000 / (TRADES + MARKET_ROWS);
const VENUES: [&str; 6] = ["XNAS", "XNYS", "BATS", "XETR", "XLON", "XPAR"];
const STATES: [&str; 4] = ["open", "partial", "filled", "cancelled"];

const TABLES: &str = "
    PRAGMA page_size = 4096;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -262144;
    CREATE TABLE accounts(id INTEGER PRIMARY KEY, name TEXT, currency TEXT, balance INTEGER, updated INTEGER);
    CREATE TABLE positions(account INTEGER, symbol TEXT, quantity INTEGER, cost REAL, updated INTEGER, PRIMARY KEY(account, symbol));
    CREATE TABLE orders(id INTEGER PRIMARY KEY, account INTEGER, symbol TEXT, side TEXT, quantity INTEGER, filled INTEGER,
        price REAL, state TEXT, token BLOB, created INTEGER, updated INTEGER);
    CREATE INDEX orders_account ON orders(account, created);
    CREATE TABLE trades(id INTEGER PRIMARY KEY, order_id INTEGER, account INTEGER, symbol TEXT, side TEXT, price REAL,
        quantity INTEGER, fee REAL, venue TEXT, executed INTEGER);
    CREATE INDEX trades_account ON trades(account, executed);
    CREATE INDEX trades_symbol ON trades(symbol, executed);
    CREATE TABLE market(id INTEGER PRIMARY KEY, symbol TEXT, at INTEGER, bid REAL, ask REAL, bid_size INTEGER, ask_size INTEGER, volume INTEGER);
    CREATE INDEX market_symbol ON market(symbol, at);";

/// What goes wrong here is SQLite's.
type Done<T> = rusqlite::Result<T>;

/// One instrument: its price in hundredths.
struct Symbol {
    name: String,
    ticks: u64,
    volume: u64,
}

/// The market's state, from which the next rows follow.
struct Market {
    random: Random,
    symbols: Vec<Symbol>,
    now: u64,
    orders: u64,
}

/// A trading database that is open for writing.
pub(crate) struct Trading {
    connection: Connection,
    market: Market,
}

impl Trading {
    /// Makes one of at least `bytes` at `path`, where nothing is.
    pub(crate) fn create(path: &Path, seed: u64, bytes: u64) -> Done<Self> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(TABLES)?;
        let mut market = Market::new(seed);
        let first = connection.transaction()?;
        market.open_accounts(&first)?;
        first.commit()?;
        while size(&connection)? < bytes {
            let batch = connection.transaction()?;
            for _ in 0..10 {
                market.place_orders(&batch, ORDERS)?;
                market.advance(&batch, TRADES, MARKET_ROWS, 0)?;
            }
            batch.commit()?;
        }
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        Ok(Self { connection, market })
    }

    /// A quarter of an hour: 1,000 trades, 4,000 rows of the market and 600 updates in five transactions.
    pub(crate) fn step(&mut self) -> Done<()> {
        for _ in 0..TRANSACTIONS {
            let transaction = self.connection.transaction()?;
            self.market.advance(
                &transaction,
                TRADES / TRANSACTIONS,
                MARKET_ROWS / TRANSACTIONS,
                UPDATES / TRANSACTIONS,
            )?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// All pages as they are now, in order. Nobody else may open the file in this process: closing it would take the locks of this connection.
    pub(crate) fn for_each_page(&self, mut take: impl FnMut(&[u8])) -> Done<()> {
        let mut statement = self.connection.prepare("SELECT data FROM sqlite_dbpage('main')")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }

    /// Brings everything into the main file.
    pub(crate) fn checkpoint(&self) -> Done<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

fn size(connection: &Connection) -> Done<u64> {
    let pages = connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
    Ok(pages.unsigned_abs() * PAGE_BYTES as u64)
}

impl Market {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let symbols = (0..SYMBOLS)
            .map(|number| {
                let letters = 2 + random.below(2);
                let mut name: String = (0..letters).map(|_| char::from(b'A' + random.below(26) as u8)).collect();
                name.push(char::from(b'A' + (number / 26 % 26) as u8));
                name.push(char::from(b'A' + (number % 26) as u8));
                Symbol { name, ticks: 500 + random.below(40_000), volume: 0 }
            })
            .collect();
        Self { random, symbols, now: 1_700_000_000_000, orders: 0 }
    }

    /// Moves the clock and one price by a few hundredths; returns the symbol's number. Few symbols are traded much, and many a little.
    fn tick(&mut self) -> usize {
        self.now += 1 + self.random.below(2 * ROW_MS - 1);
        let (one, other) = (self.random.below(SYMBOLS), self.random.below(SYMBOLS));
        let number = (one * other / SYMBOLS) as usize;
        let moved = self.random.below(9);
        let symbol = &mut self.symbols[number];
        symbol.ticks = (symbol.ticks + moved).saturating_sub(4).max(100);
        number
    }

    fn open_accounts(&mut self, to: &Transaction<'_>) -> Done<()> {
        let mut accounts = to.prepare("INSERT INTO accounts(name, currency, balance, updated) VALUES (?, ?, ?, ?)")?;
        let mut positions = to.prepare("INSERT OR IGNORE INTO positions VALUES (?, ?, ?, ?, ?)")?;
        for account in 1..=ACCOUNTS {
            let currency = ["USD", "EUR", "GBP"][self.random.below(3) as usize];
            let balance = self.random.below(100_000_000);
            accounts.execute(params![format!("Account {account:05}"), currency, balance as i64, self.now as i64])?;
            for _ in 0..POSITIONS {
                let number = self.tick();
                let cost = self.symbols[number].ticks as f64 / 100.0;
                let quantity = self.quantity();
                positions.execute(params![
                    account as i64,
                    self.symbols[number].name,
                    quantity,
                    cost,
                    self.now as i64
                ])?;
            }
        }
        Ok(())
    }

    /// Lots of ten, small ones more often.
    fn quantity(&mut self) -> i64 {
        let bound = 1 + self.random.below(100);
        10 * (1 + self.random.below(bound)) as i64
    }

    fn place_orders(&mut self, to: &Transaction<'_>, count: u64) -> Done<()> {
        let mut orders = to.prepare(
            "INSERT INTO orders(account, symbol, side, quantity, filled, price, state, token, created, updated)
             VALUES (?, ?, ?, ?, 0, ?, 'open', ?, ?, ?)",
        )?;
        for _ in 0..count {
            let number = self.tick();
            let (account, quantity) = (1 + self.random.below(ACCOUNTS), self.quantity());
            let side = self.side();
            let mut token = [0; 16];
            self.random.fill(&mut token);
            let (symbol, now) = (&self.symbols[number], self.now as i64);
            let price = symbol.ticks as f64 / 100.0;
            orders.execute(params![account as i64, symbol.name, side, quantity, price, token, now, now])?;
            self.orders += 1;
        }
        Ok(())
    }

    fn side(&mut self) -> &'static str {
        ["buy", "sell"][self.random.below(2) as usize]
    }

    /// Adds rows of trades and of the market as they come, mixed, and updates rows between them.
    fn advance(&mut self, to: &Transaction<'_>, trades: u64, rows: u64, updates: u64) -> Done<()> {
        let mut statements = Statements::prepare(to)?;
        let all = trades + rows + updates;
        let (mut trades, mut rows) = (trades, rows);
        for left in (1..=all).rev() {
            let place = self.random.below(left);
            if place < trades {
                trades -= 1;
                self.trade(&mut statements.trade)?;
            } else if place < trades + rows {
                rows -= 1;
                self.quote(&mut statements.quote)?;
            } else {
                self.update(&mut statements)?;
            }
        }
        Ok(())
    }

    fn trade(&mut self, insert: &mut Statement<'_>) -> Done<()> {
        let number = self.tick();
        let (account, quantity, side) = (1 + self.random.below(ACCOUNTS), self.quantity(), self.side());
        let order = self.orders.saturating_sub(self.random.below(OPEN_ORDERS.min(self.orders))) as i64;
        let venue = VENUES[self.random.below(VENUES.len() as u64) as usize];
        let symbol = &mut self.symbols[number];
        symbol.volume += quantity.unsigned_abs();
        let price = symbol.ticks as f64 / 100.0;
        let fee = (price * quantity as f64 * 0.02).round() / 100.0;
        let now = self.now as i64;
        insert.execute(params![order, account as i64, symbol.name, side, price, quantity, fee, venue, now])?;
        Ok(())
    }

    fn quote(&mut self, insert: &mut Statement<'_>) -> Done<()> {
        let number = self.tick();
        let (spread, bids, asks) = (1 + self.random.below(4), self.quantity(), self.quantity());
        let symbol = &self.symbols[number];
        let (bid, ask) = (symbol.ticks as f64 / 100.0, (symbol.ticks + spread) as f64 / 100.0);
        insert.execute(params![symbol.name, self.now as i64, bid, ask, bids, asks, symbol.volume as i64])?;
        Ok(())
    }

    /// Changes an order, a position or a balance somewhere.
    fn update(&mut self, statements: &mut Statements<'_>) -> Done<()> {
        let (account, amount, now) = (1 + self.random.below(ACCOUNTS) as i64, self.quantity(), self.now as i64);
        match self.random.below(6) {
            0..3 => {
                let order = 1 + self.random.below(self.orders) as i64;
                let state = STATES[self.random.below(STATES.len() as u64) as usize];
                statements.order.execute(params![amount, state, now, order])?;
            }
            3..5 => {
                let skip = self.random.below(POSITIONS - 2) as i64;
                statements.position.execute(params![amount, now, account, account, skip])?;
            }
            _ => {
                statements.balance.execute(params![amount, now, account])?;
            }
        }
        Ok(())
    }
}

/// The statements of a transaction.
struct Statements<'a> {
    trade: Statement<'a>,
    quote: Statement<'a>,
    order: Statement<'a>,
    position: Statement<'a>,
    balance: Statement<'a>,
}

impl<'a> Statements<'a> {
    fn prepare(on: &'a Connection) -> Done<Self> {
        Ok(Self {
            trade: on.prepare(
                "INSERT INTO trades(order_id, account, symbol, side, price, quantity, fee, venue, executed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            quote: on.prepare(
                "INSERT INTO market(symbol, at, bid, ask, bid_size, ask_size, volume) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?,
            order: on.prepare("UPDATE orders SET filled = filled + ?, state = ?, updated = ? WHERE id = ?")?,
            position: on.prepare(
                "UPDATE positions SET quantity = quantity + ?, updated = ? WHERE account = ? AND symbol =
                 (SELECT symbol FROM positions WHERE account = ? ORDER BY symbol LIMIT 1 OFFSET ?)",
            )?,
            balance: on.prepare("UPDATE accounts SET balance = balance - ?, updated = ? WHERE id = ?")?,
        })
    }
}
