from nealytics.cli import main
from nealytics.process import find_authorities

find_authorities()
main()
